#include "symbolize/demangle.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

#define HAVE_DECL_BASENAME 1  // libiberty's own clashes with string.h's
#include <libiberty/demangle.h>

namespace leakshim {
namespace {

// The demangler recurses over its input; no real name comes near.
constexpr size_t kMaxMangledBytes = 16 << 10;

struct Free {
  void operator()(char* text) const { std::free(text); }
};
using Text = std::unique_ptr<char, Free>;

// Rust's legacy mangling is well-formed C++ with a hash at its end: it is asked for first. Null: neither Rust nor D.
Text DemangleRustOrD(const std::string& symbol) {
  if (absl::StartsWith(symbol, "_R") || absl::StartsWith(symbol, "_ZN")) {
    if (Text name{rust_demangle(symbol.c_str(), DMGL_PARAMS)}) return name;
  }
  return Text(absl::StartsWith(symbol, "_D") ? dlang_demangle(symbol.c_str(), DMGL_PARAMS) : nullptr);
}

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
  SourceFrame frame;
  SetName(symbol, &frame);
  return frame.function;
}

void SetName(absl::string_view symbol, SourceFrame* frame) {
  frame->function = std::string(symbol);
  frame->verbatim = false;
  if (symbol.size() > kMaxMangledBytes) return;
  if (const Text name = DemangleRustOrD(frame->function)) {
    frame->function = name.get();
    frame->verbatim = true;
  } else if (absl::StartsWith(symbol, "_Z")) {
    int status = 0;
    const Text cpp(abi::__cxa_demangle(frame->function.c_str(), nullptr, nullptr, &status));
    if (status == 0 && cpp != nullptr) frame->function = cpp.get();
  }
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
