// What the user asked for: LEAKSHIM_CONF, or the prof options of MALLOC_CONF where only that is set.
//
// The options themselves stand in options.def, one line each; this file gives their types. The grammar is jemalloc's:
// `key:value,key:value`, a value reaches to the next comma, later pairs win.
//
// Context: parsed once, in the constructor, before any other thread; read-only afterwards. No libc, no memory of its
// own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leakshim {

// The types that options.def names.
namespace option {

enum class UnwindMode : uint8_t { kAuto, kCfi, kLibunwind, kFp };
enum class ForkMode : uint8_t { kInherit, kFresh, kOff };
enum class TimeResolution : uint8_t { kDefault, kHigh };

using Bool = bool;
using Number = int64_t;
using Bytes = uint64_t;
using Mode = uint32_t;
using Signal = int;  // 0: none

struct Duration {
  bool automatic;
  uint64_t ns;  // 0: never; meaningless if automatic
};

struct Percents {
  uint8_t first, second;  // both 0: off
};

struct Seed {
  bool random;
  uint64_t value;  // meaningless if random
};

struct Text {
  static constexpr size_t kCapacity = 4096;
  char text[kCapacity];  // NUL-terminated
};

}  // namespace option

using option::ForkMode;
using option::UnwindMode;

// Large (it holds its strings): make it a static object, not one on a stack.
struct Options {
#define OPTION(type, name, standard, under_malloc_conf, allowed, unit, effect, help) option::type name;
#include "options.def"
#undef OPTION
  bool from_malloc_conf;  // MALLOC_CONF said prof:true and LEAKSHIM_CONF was not set: jemalloc's defaults are in force
};

// Takes one line of a message, its line break included.
using MessageSink = void (*)(const char* text, size_t bytes);

// Fills `out`, defaults first. `leakshim_conf` and `malloc_conf` are the values of the environment variables, nullptr
// where they are not set. MALLOC_CONF counts only where LEAKSHIM_CONF is not set and its last `prof` is true; of its
// keys those that begin with prof or lg_prof count. Errors: each bad key or value is one line to `sink`, and the value
// before it stands; text that is not key:value ends the reading. Returns false if abort_conf:true was given and there
// was an error: the caller is to end the process.
bool ParseOptions(const char* leakshim_conf, const char* malloc_conf, Options* out, MessageSink sink);

}  // namespace leakshim
