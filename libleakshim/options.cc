#include "options.h"

#include <csignal>
#include <cstring>
#include <type_traits>

#include "os/format.h"
#include "os/text.h"

namespace leakshim {
namespace {

using namespace option;

enum class Effect : uint8_t { kEffective, kNotYet, kNoMeaning };
// Named as options.def names them.
enum class Type : uint8_t {
  Bool,
  Number,
  Bytes,
  Duration,
  Percents,
  Mode,
  Signal,
  Seed,
  Text,
  UnwindMode,
  ForkMode,
  TimeResolution,
};

enum OptionId : uint8_t {
#define OPTION(type, name, standard, under_malloc_conf, allowed, unit, effect, help) k_##name,
#include "options.def"
#undef OPTION
  kOptionCount,
};

struct OptionInfo {
  const char* name;
  Type type;
  Effect effect;
  const char* standard;
  const char* under_malloc_conf;  // nullptr: the same
  const char* allowed;
};

#define SAME nullptr
constexpr OptionInfo kOptions[] = {
#define OPTION(type, name, standard, under_malloc_conf, allowed, unit, effect, help) \
  {#name, Type::type, Effect::effect, standard, under_malloc_conf, allowed},
#include "options.def"
#undef OPTION
};
#undef SAME

struct SignalName {
  const char* name;
  int number;
};
// Those that a process may give a meaning of its own; never the ones that report a fault.
constexpr SignalName kSignals[] = {
    {"HUP", SIGHUP},       {"INT", SIGINT},   {"QUIT", SIGQUIT},   {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE},     {"ALRM", SIGALRM}, {"TERM", SIGTERM},   {"CHLD", SIGCHLD}, {"CONT", SIGCONT},
    {"URG", SIGURG},       {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},   {"PROF", SIGPROF}, {"IO", SIGIO},
    {"VTALRM", SIGVTALRM}, {"PWR", SIGPWR},   {"WINCH", SIGWINCH},
};

// --- values ---------------------------------------------------------------------------------------------------------

// What a number was, where it does not fit 64 bits too: jemalloc clips some.
enum class Parsed : uint8_t { kOk, kTooLarge, kNotANumber };

int DigitOf(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 16;
}

Parsed ParseUnsigned(Slice digits, unsigned base, uint64_t* out) {
  if (digits.bytes == 0) return Parsed::kNotANumber;
  uint64_t value = 0;
  bool too_large = false;
  for (size_t i = 0; i < digits.bytes; i++) {
    auto digit = static_cast<unsigned>(DigitOf(digits.text[i]));
    if (digit >= base) return Parsed::kNotANumber;
    if (value > (UINT64_MAX - digit) / base) too_large = true;
    value = value * base + digit;
  }
  *out = value;
  return too_large ? Parsed::kTooLarge : Parsed::kOk;
}

// As strtoumax with base 0, but nothing may stand before or behind the digits.
Parsed ParseCUnsigned(Slice slice, uint64_t* out) {
  if (slice.bytes > 2 && slice.text[0] == '0' && (slice.text[1] == 'x' || slice.text[1] == 'X')) {
    return ParseUnsigned({slice.text + 2, slice.bytes - 2}, 16, out);
  }
  bool octal = slice.bytes > 1 && slice.text[0] == '0';
  return ParseUnsigned(slice, octal ? 8 : 10, out);
}

Parsed ParseCSigned(Slice slice, int64_t* out) {
  bool negative = slice.bytes > 0 && slice.text[0] == '-';
  uint64_t magnitude = 0;
  Parsed parsed = ParseCUnsigned(negative ? Slice{slice.text + 1, slice.bytes - 1} : slice, &magnitude);
  if (parsed != Parsed::kOk) return parsed;
  if (magnitude > uint64_t{INT64_MAX}) return Parsed::kTooLarge;
  *out = negative ? -static_cast<int64_t>(magnitude) : static_cast<int64_t>(magnitude);
  return Parsed::kOk;
}

Parsed ParseSize(Slice slice, uint64_t* out) {
  int shift = 0;
  if (slice.bytes > 0) {
    switch (slice.text[slice.bytes - 1] | 0x20) {
      case 'k':
        shift = 10;
        break;
      case 'm':
        shift = 20;
        break;
      case 'g':
        shift = 30;
        break;
      case 't':
        shift = 40;
        break;
      default:
        break;
    }
  }
  if (shift != 0) slice.bytes--;
  Parsed parsed = ParseCUnsigned(slice, out);
  if (parsed != Parsed::kOk) return parsed;
  if (*out > UINT64_MAX >> shift) return Parsed::kTooLarge;
  *out <<= shift;
  return Parsed::kOk;
}

// The two ends of "0..63", "1M.." or "..5" as they are written; empty where there is none.
struct Range {
  Slice low, high;
};

Range SplitRange(const char* allowed) {
  size_t dots = 0;
  while (allowed[dots] != 0 && !(allowed[dots] == '.' && allowed[dots + 1] == '.')) dots++;
  Range range{{allowed, dots}, {allowed, 0}};
  if (allowed[dots] != 0) range.high = {allowed + dots + 2, strlen(allowed + dots + 2)};
  return range;
}

// Which of "a|b|c" the slice is, from 0; -1: none of them.
int ChoiceOf(Slice slice, const char* allowed) {
  for (int index = 0;; index++) {
    size_t bytes = 0;
    while (allowed[bytes] != 0 && allowed[bytes] != '|') bytes++;
    if (bytes == slice.bytes && memcmp(allowed, slice.text, bytes) == 0) return index;
    if (allowed[bytes] == 0) return -1;
    allowed += bytes + 1;
  }
}

// One Parse a type. `clip`: a number that is too large becomes the largest allowed one, as jemalloc does it.

bool Parse(Slice slice, const char*, bool, Bool* out) {
  if (!Equals(slice, "true") && !Equals(slice, "false")) return false;
  *out = slice.bytes == 4;
  return true;
}

bool Parse(Slice slice, const char* allowed, bool clip, Number* out) {
  Range range = SplitRange(allowed);
  int64_t low = INT64_MIN, high = INT64_MAX, value = 0;
  if (range.low.bytes > 0) ParseCSigned(range.low, &low);
  if (range.high.bytes > 0) ParseCSigned(range.high, &high);
  Parsed parsed = ParseCSigned(slice, &value);
  if (parsed == Parsed::kNotANumber) return false;
  // Read unsigned there: -1 is the largest number of all.
  if (clip && (parsed == Parsed::kTooLarge || value > high || (low >= 0 && value < 0))) {
    *out = high;
    return true;
  }
  if (parsed != Parsed::kOk || value < low || value > high) return false;
  *out = value;
  return true;
}

bool Parse(Slice slice, const char* allowed, bool, Bytes* out) {
  Range range = SplitRange(allowed);
  uint64_t low = 0, high = UINT64_MAX, value = 0;
  if (range.low.bytes > 0) ParseSize(range.low, &low);
  if (range.high.bytes > 0) ParseSize(range.high, &high);
  if (ParseSize(slice, &value) != Parsed::kOk || value < low || value > high) return false;
  *out = value;
  return true;
}

bool Parse(Slice slice, const char* allowed, bool, Duration* out) {
  if (Equals(slice, "auto")) {
    if (ChoiceOf(slice, allowed) < 0) return false;
    *out = {.automatic = true, .ns = 0};
    return true;
  }
  uint64_t value = 0, seconds = 0;
  if (!Equals(slice, "0")) {
    if (slice.bytes == 0) return false;
    switch (slice.text[slice.bytes - 1]) {
      case 's':
        seconds = 1;
        break;
      case 'm':
        seconds = 60;
        break;
      case 'h':
        seconds = 3600;
        break;
      case 'd':
        seconds = 86400;
        break;
      default:
        return false;
    }
    constexpr uint64_t kMaxSeconds = 366 * 86400;  // far from an overflow of the nanoseconds
    if (ParseUnsigned({slice.text, slice.bytes - 1}, 10, &value) != Parsed::kOk || value > kMaxSeconds / seconds) {
      return false;
    }
  }
  *out = {.automatic = false, .ns = value * seconds * 1'000'000'000u};
  return true;
}

bool Parse(Slice slice, const char*, bool, Percents* out) {
  if (Equals(slice, "off")) {
    *out = {0, 0};
    return true;
  }
  size_t slash = 0;
  while (slash < slice.bytes && slice.text[slash] != '/') slash++;
  if (slash == slice.bytes) return false;
  uint64_t first = 0, second = 0;
  if (ParseUnsigned({slice.text, slash}, 10, &first) != Parsed::kOk ||
      ParseUnsigned({slice.text + slash + 1, slice.bytes - slash - 1}, 10, &second) != Parsed::kOk) {
    return false;
  }
  if (first == 0 || first > second || second > 100) return false;
  *out = {static_cast<uint8_t>(first), static_cast<uint8_t>(second)};
  return true;
}

bool Parse(Slice slice, const char* allowed, bool, Mode* out) {
  uint64_t value = 0;
  if (ChoiceOf(slice, allowed) < 0 || ParseUnsigned(slice, 8, &value) != Parsed::kOk) return false;
  *out = static_cast<Mode>(value);
  return true;
}

bool Parse(Slice slice, const char*, bool, Signal* out) {
  if (Equals(slice, "none")) {
    *out = 0;
    return true;
  }
  uint64_t number = 0;
  constexpr uint64_t kFirstRealTime = 34, kLastSignal = 64;  // 32 and 33 belong to the thread library
  bool is_number = ParseCUnsigned(slice, &number) == Parsed::kOk;
  if (is_number && number >= kFirstRealTime && number <= kLastSignal) {
    *out = static_cast<Signal>(number);
    return true;
  }
  if (StartsWith(slice, "SIG")) slice = {slice.text + 3, slice.bytes - 3};
  for (const SignalName& signal : kSignals) {
    if (is_number ? number == static_cast<uint64_t>(signal.number) : Equals(slice, signal.name)) {
      *out = signal.number;
      return true;
    }
  }
  return false;
}

bool Parse(Slice slice, const char*, bool, Seed* out) {
  uint64_t value = 0;
  bool random = Equals(slice, "random");
  if (!random && ParseCUnsigned(slice, &value) != Parsed::kOk) return false;
  *out = {random, value};
  return true;
}

bool Parse(Slice slice, const char*, bool, Text* out) {
  if (slice.bytes >= Text::kCapacity) return false;
  if (slice.bytes > 0) memcpy(out->text, slice.text, slice.bytes);
  out->text[slice.bytes] = 0;
  return true;
}

template <typename Enum>
requires std::is_enum_v<Enum>
bool Parse(Slice slice, const char* allowed, bool, Enum* out) {
  int index = ChoiceOf(slice, allowed);
  if (index < 0) return false;
  *out = static_cast<Enum>(index);
  return true;
}

bool SetOption(Options* options, OptionId id, Slice slice, bool clip) {
  const char* allowed = kOptions[id].allowed;
  switch (id) {
#define OPTION(type, name, ...) \
  case k_##name:                \
    return Parse(slice, allowed, clip, &options->name);
#include "options.def"
#undef OPTION
    case kOptionCount:
      break;
  }
  return false;
}

// --- messages -------------------------------------------------------------------------------------------------------

// Two shown values and the fixed text around them always fit.
constexpr size_t kMessageBytes = 512;
constexpr size_t kShownValueBytes = 120;

// What came from outside, cut where it is long, and fit for a terminal.
void AppendShown(TextBuffer& line, Slice slice) {
  size_t shown = slice.bytes < kShownValueBytes ? slice.bytes : kShownValueBytes;
  for (size_t i = 0; i < shown; i++) {
    char c = slice.text[i];
    line.AppendChar(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c);
  }
  if (shown < slice.bytes) line.Append("...");
}

void AppendChoices(TextBuffer& line, const char* choices) {
  size_t left = 0;
  for (const char* c = choices; *c != 0; c++) left += *c == '|' ? 1 : 0;
  for (const char* c = choices; *c != 0; c++) {
    if (*c != '|') {
      line.AppendChar(*c);
    } else {
      line.Append(--left > 0 ? ", " : " or ");
    }
  }
}

void AppendAllowed(TextBuffer& line, const OptionInfo& info) {
  switch (info.type) {
    case Type::Bool:
      line.Append("true or false");
      return;
    case Type::Number:
    case Type::Bytes: {
      line.Append(info.type == Type::Number ? "a number" : "a size in bytes such as 4096, 64K, 64M or 1G");
      Range range = SplitRange(info.allowed);
      if (range.high.bytes > 0) {
        line.Append(info.type == Type::Number ? " from " : ", from ").Append(range.low.text, range.low.bytes);
        line.Append(" to ").Append(range.high.text, range.high.bytes);
      } else if (range.low.bytes > 0 && !Equals(range.low, "0")) {
        line.Append(", at least ").Append(range.low.text, range.low.bytes);
      }
      return;
    }
    case Type::Duration:
      if (info.allowed[0] != 0) line.Append(info.allowed).Append(", ");
      line.Append("0 or a time such as 30s, 5m or 1h");
      return;
    case Type::Percents:
      line.Append("off or two rising percentages such as 90/95");
      return;
    case Type::Signal:
      line.Append("none or a signal that can be handled, such as USR2 or 12");
      return;
    case Type::Seed:
      line.Append("random or a number");
      return;
    case Type::Text:
      line.Append("a text of at most ").AppendDecimal(Text::kCapacity - 1).Append(" bytes");
      return;
    case Type::Mode:
    case Type::UnwindMode:
    case Type::ForkMode:
    case Type::TimeResolution:
      AppendChoices(line, info.allowed);
      return;
  }
}

// Number of single-letter insertions, deletions and changes between the two.
[[gnu::noinline]] unsigned EditDistance(Slice from, const char* to) {
  constexpr size_t kMaxName = 40;
  uint8_t row[kMaxName + 1];
  size_t to_bytes = strlen(to);
  if (to_bytes > kMaxName || from.bytes > kMaxName) return kMaxName;
  for (size_t i = 0; i <= to_bytes; i++) row[i] = static_cast<uint8_t>(i);
  for (size_t i = 1; i <= from.bytes; i++) {
    uint8_t diagonal = row[0];
    row[0] = static_cast<uint8_t>(i);
    for (size_t j = 1; j <= to_bytes; j++) {
      int best = diagonal + (from.text[i - 1] == to[j - 1] ? 0 : 1);
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = row[j];
      row[j] = static_cast<uint8_t>(best);
    }
  }
  return row[to_bytes];
}

// --- the string -----------------------------------------------------------------------------------------------------

struct Pair {
  Slice key, value, whole;
};

enum class Next : uint8_t { kPair, kEnd, kMalformed };

// Takes the first pair off `rest`. On kMalformed `pair->whole` is the text that is none.
Next TakePair(const char** rest, Pair* pair) {
  const char* at = *rest;
  if (*at == 0) return Next::kEnd;
  size_t key = 0;
  auto is_key = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  while (is_key(at[key])) key++;
  size_t end = key;
  while (at[end] != 0 && at[end] != ',') end++;
  pair->whole = {at, end};
  if (key == 0 || at[key] != ':') return Next::kMalformed;
  pair->key = {at, key};
  pair->value = {at + key + 1, end - key - 1};
  *rest = at + end + (at[end] == ',' ? 1 : 0);
  return Next::kPair;
}

class Parser {
 public:
  Parser(Options* options, const char* source, MessageSink sink) : options_(options), source_(source), sink_(sink) {}

  void SetDefaults() {
    for (int i = 0; i < kOptionCount; i++) {
      const OptionInfo& info = kOptions[i];
      bool jemallocs = options_->from_malloc_conf && info.under_malloc_conf != nullptr;
      const char* text = jemallocs ? info.under_malloc_conf : info.standard;
      values_[i] = text;
      was_given_[i] = false;
      SetOption(options_, static_cast<OptionId>(i), ValueOf(i), false);
    }
  }

  void Read(const char* conf) {
    Pair pair;
    for (;;) {
      switch (TakePair(&conf, &pair)) {
        case Next::kEnd:
          return;
        case Next::kMalformed:
          ReportMalformed(pair.whole);
          return;
        case Next::kPair:
          Take(pair);
          break;
      }
    }
  }

  // Not inlined, like the reports below: one message buffer on the stack at a time.
  [[gnu::noinline]] void Confirm() {
    for (int i = 0; i < kOptionCount; i++) {
      char buffer[kMessageBytes];
      TextBuffer line(buffer, sizeof(buffer));
      line.Append("leakshim: ").Append(kOptions[i].name).AppendChar(':');
      AppendShown(line, ValueOf(i));
      line.Append(" (").Append(was_given_[i] ? source_ : options_->from_malloc_conf ? "jemalloc's default" : "default");
      if (kOptions[i].effect == Effect::kNotYet) line.Append("; accepted, has no effect yet");
      if (kOptions[i].effect == Effect::kNoMeaning) line.Append("; accepted, has no meaning here");
      line.AppendChar(')');
      Send(line);
    }
  }

  bool HasErrors() const { return has_errors_; }

 private:
  Slice ValueOf(int option) const {
    const char* text = values_[option];
    size_t bytes = 0;
    while (text[bytes] != 0 && text[bytes] != ',') bytes++;
    return {text, bytes};
  }

  void Take(const Pair& pair) {
    if (options_->from_malloc_conf && !StartsWith(pair.key, "prof") && !StartsWith(pair.key, "lg_prof")) return;
    for (int i = 0; i < kOptionCount; i++) {
      if (!Equals(pair.key, kOptions[i].name)) continue;
      bool clip = options_->from_malloc_conf && i != k_lg_prof_interval;
      if (SetOption(options_, static_cast<OptionId>(i), pair.value, clip)) {
        values_[i] = pair.value.text;
        was_given_[i] = true;
      } else {
        ReportValue(pair, kOptions[i], ValueOf(i));
      }
      return;
    }
    ReportKey(pair);
  }

  [[gnu::noinline]] void ReportValue(const Pair& pair, const OptionInfo& info, Slice kept) {
    char buffer[kMessageBytes];
    TextBuffer line(buffer, sizeof(buffer));
    Begin(line, pair.whole);
    line.Append("not ");
    AppendAllowed(line, info);
    line.Append("; using ");
    if (kept.bytes == 0) line.Append("none");
    AppendShown(line, kept);
    Send(line);
  }

  [[gnu::noinline]] void ReportKey(const Pair& pair) {
    char buffer[kMessageBytes];
    TextBuffer line(buffer, sizeof(buffer));
    Begin(line, pair.whole);
    line.Append("no such option, ignored");
    const char* nearest = nullptr;
    unsigned distance = static_cast<unsigned>(pair.key.bytes) / 3 + 1;
    for (const OptionInfo& info : kOptions) {
      unsigned d = EditDistance(pair.key, info.name);
      if (d >= distance) continue;
      distance = d;
      nearest = info.name;
    }
    if (nearest != nullptr) line.Append("; did you mean ").Append(nearest).AppendChar('?');
    Send(line);
  }

  [[gnu::noinline]] void ReportMalformed(Slice found) {
    char buffer[kMessageBytes];
    TextBuffer line(buffer, sizeof(buffer));
    Begin(line, found.bytes > 0 ? found : Slice{",", 1});
    line.Append("not key:value with a key of letters, digits and _ only; the rest is ignored");
    Send(line);
  }

  void Begin(TextBuffer& line, Slice subject) {
    has_errors_ = true;
    line.Append("leakshim: ").Append(source_).Append(": ");
    AppendShown(line, subject);
    line.Append(": ");
  }

  void Send(TextBuffer& line) {
    line.AppendChar('\n');
    sink_(line.Text(), line.Size());
  }

  Options* const options_;
  const char* const source_;
  const MessageSink sink_;
  bool has_errors_ = false;
  const char* values_[kOptionCount];  // as they were written; each ends at a comma or a NUL
  bool was_given_[kOptionCount];
};

bool SaysProf(const char* conf) {
  bool prof = false;
  Pair pair;
  while (TakePair(&conf, &pair) == Next::kPair) {
    if (Equals(pair.key, "prof")) prof = Equals(pair.value, "true");
  }
  return prof;
}

}  // namespace

bool ParseOptions(const char* leakshim_conf, const char* malloc_conf, Options* out, MessageSink sink) {
  const char* conf = leakshim_conf;
  out->from_malloc_conf = leakshim_conf == nullptr && malloc_conf != nullptr && SaysProf(malloc_conf);
  if (out->from_malloc_conf) conf = malloc_conf;
  Parser parser(out, out->from_malloc_conf ? "MALLOC_CONF" : "LEAKSHIM_CONF", sink);
  parser.SetDefaults();
  if (conf != nullptr) parser.Read(conf);
  if (out->confirm_conf) parser.Confirm();
  return !(out->abort_conf && parser.HasErrors());
}

}  // namespace leakshim
