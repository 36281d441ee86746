#include "symbolize/demangle.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace leakshim {
namespace {

// The demangler recurses over its input; no real name comes near.
constexpr size_t kMaxMangledBytes = 16 << 10;

struct Free {
  void operator()(char* text) const { std::free(text); }
};

bool IsSpace(char c) {
  return absl::ascii_isspace(static_cast<unsigned char>(c));
}

// Removes balanced groups between `open` and `close`, from the inside out, each with what `swallow` finds behind it.
template <typename Swallow>
std::string RemoveGroups(absl::string_view text, char open, char close, const Swallow& swallow) {
  std::string kept;
  std::vector<size_t> opened;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == close && !opened.empty()) {
      kept.resize(opened.back());
      opened.pop_back();
      i += swallow(text.substr(i + 1));
      continue;
    }
    if (text[i] == open) opened.push_back(kept.size());
    kept += text[i];
  }
  return kept;
}

size_t ConstLength(absl::string_view text) {
  size_t blanks = 0;
  while (blanks < text.size() && IsSpace(text[blanks])) ++blanks;
  return absl::StartsWith(text.substr(blanks), "const") ? blanks + 5 : 0;
}

bool IsWord(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
}

// True if `text` begins with `word::`.
bool StartsWithScope(absl::string_view text) {
  size_t word = 0;
  while (word < text.size() && IsWord(text[word])) ++word;
  return word > 0 && absl::StartsWith(text.substr(word), "::");
}

}  // namespace

std::string Demangle(absl::string_view symbol) {
  if (!absl::StartsWith(symbol, "_Z") || symbol.size() > kMaxMangledBytes) return std::string(symbol);
  const std::string mangled(symbol);
  int status = 0;
  const std::unique_ptr<char, Free> name(abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status));
  return status == 0 && name != nullptr ? std::string(name.get()) : mangled;
}

std::string ShortName(absl::string_view name) {
  if (name.find_first_of("(< ") == absl::string_view::npos) return std::string(name);
  std::string text = RemoveGroups(name, '(', ')', ConstLength);
  text = RemoveGroups(text, '<', '>', [](absl::string_view) { return size_t{0}; });
  for (size_t i = text.size(); i-- > 0;) {
    if (IsSpace(text[i]) && StartsWithScope(absl::string_view(text).substr(i + 1))) return text.substr(i + 1);
  }
  return text;
}

}  // namespace leakshim
