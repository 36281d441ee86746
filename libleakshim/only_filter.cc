#include "only_filter.h"

#include <cstring>

#include "os/os.h"

namespace leakshim {
namespace {

bool Matches(Slice pattern, Slice name) {
  // Where the last star stands, and what it has swallowed so far.
  Slice star{nullptr, 0}, swallowed{nullptr, 0};
  while (name.bytes > 0) {
    if (pattern.bytes > 0 && pattern.text[0] == '*') {
      star = pattern = Rest(pattern, 1);
      swallowed = name;
    } else if (pattern.bytes > 0 && (pattern.text[0] == '?' || pattern.text[0] == name.text[0])) {
      pattern = Rest(pattern, 1);
      name = Rest(name, 1);
    } else if (star.text != nullptr) {
      pattern = star;
      name = swallowed = Rest(swallowed, 1);
    } else {
      return false;
    }
  }
  while (pattern.bytes > 0 && pattern.text[0] == '*') pattern = Rest(pattern, 1);
  return pattern.bytes == 0;
}

Slice LastPart(Slice path) {
  size_t slash = FindLast(path, '/');
  return slash == path.bytes ? path : Rest(path, slash + 1);
}

}  // namespace

bool MatchesAny(Slice patterns, Slice name) {
  while (patterns.bytes > 0) {
    if (Matches(TakeField(&patterns, '/'), name)) return true;
  }
  return false;
}

bool IsWanted(const char* patterns, const char* command) {
  Slice all{patterns, strlen(patterns)};
  if (all.bytes == 0) return true;
  if (command != nullptr && MatchesAny(all, LastPart({command, strlen(command)}))) return true;
  char path[1024];
  int64_t bytes = os::ReadLink("/proc/self/exe", path, sizeof(path));
  return bytes > 0 && MatchesAny(all, LastPart({path, static_cast<size_t>(bytes)}));
}

}  // namespace leakshim
