// The text of a profile, line by line, and what stands in a line.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "profile/profile.h"

namespace leakshim {

inline constexpr uint32_t kMaxStackFrames = 1 << 16;

bool IsBlank(char c);
void SkipBlanks(absl::string_view* text);
absl::string_view StripBlanks(absl::string_view text);

// Input in a message: short, on one line, printable.
std::string Quoted(absl::string_view text);
// What stands where `rest` begins, for a message.
std::string Found(absl::string_view rest);

// The value of a hex digit; -1: it is none.
int HexDigit(char c);
// A hex number with or without 0x, up to 64 bits (leading zeros do not count), at the front of `text`.
bool TakeHex(absl::string_view* text, uint64_t* value);
bool TakeDecimal(absl::string_view* text, uint64_t* value);

// The text up to the next blank; `line` moves to the field after it.
absl::string_view TakeField(absl::string_view* line);
bool HexField(absl::string_view* line, uint64_t* value);
bool DecimalField(absl::string_view* line, uint64_t* value);

// `objects: bytes [objects: bytes]`. Returns what was expected where `line` then begins, or null if all was there.
inline constexpr const char kBlankInBrackets[] = "a blank after alloc objects";
const char* TakeCounts(absl::string_view* line, SampledCounts* counts);

// The lines of `profile->text`, and what is to be said about them.
class TextLines {
 public:
  explicit TextLines(Profile* profile) : profile_(*profile), rest_(profile->text) {}
  TextLines(const TextLines&) = delete;
  TextLines& operator=(const TextLines&) = delete;

  // False: there are no more, and line() is empty.
  bool Next();
  absl::string_view line() const { return line_; }
  // All lines after this one.
  absl::string_view rest() const { return rest_; }

  // Says that nothing points into the current line, nor ever will: the memory of such lines goes back to the system
  // once there is enough of it, so that a large file is not held beside what was read from it. They read as zeros then.
  void Forget();

  // `name:line: message`
  absl::Status Error(absl::string_view message) const;
  void Warn(absl::string_view message) { WarnOf(number_, message); }
  // Of a file that has no map of its process at its end: tells that it may be cut off, where nothing else would show
  // it.
  void WarnWithoutMap();
  // Remembers that this line is left out; TellSkipped() tells of all in one warning.
  absl::Status Skip(absl::string_view why);
  void TellSkipped();

 private:
  void WarnOf(size_t number, absl::string_view message);

  Profile& profile_;
  absl::string_view rest_;
  absl::string_view line_;
  size_t number_ = 0;
  // Forgotten lines that still have their memory: from here to there, in the text.
  size_t forgotten_ = 0, forgotten_end_ = 0;
  size_t skipped_ = 0;
  size_t first_skipped_number_ = 0;
  std::string first_skipped_;
};

// The frames of a stack, `0x10 20 ...`, at the end of the profile's stacks as a new one that has no counts yet.
// Errors: as TextLines::Error().
absl::Status ParseAddresses(const TextLines& lines, absl::string_view text, Profile* profile, Stack* stack);

}  // namespace leakshim
