// Numbers as people read them.
#pragma once

#include <string>

namespace leakshim {

// "412M", "1.3G", "96K", "12": bytes in powers of 1024, about three digits.
std::string ByteText(double bytes);
// The same with its sign, "+0" for what rounds to nothing: a rate per hour.
std::string SignedByteText(double bytes);
// "11185", "1.2M": a count.
std::string CountText(double count);
// `text` as valid UTF-8: bytes that are not become the characters of their numbers.
std::string Utf8Text(const std::string& text);
// "4711", "JSON text": with quotes and escapes, always valid JSON and UTF-8.
std::string JsonText(const std::string& text);
// A field of CSV (RFC 4180), valid UTF-8, in quotes where it needs them.
std::string CsvField(const std::string& text);
// A JSON number; null for NaN and infinities.
std::string JsonNumber(double value);

}  // namespace leakshim
