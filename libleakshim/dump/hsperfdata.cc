#include "dump/hsperfdata.h"

#include <cstring>

#include "os/format.h"
#include "os/text.h"

namespace leakshim {
namespace {

struct Prologue {
  unsigned char magic[4];  // big-endian whatever the rest is
  uint8_t byte_order;      // 1: little
  uint8_t major, minor;
  uint8_t accessible;
  int32_t used_bytes;
  int32_t overflow_bytes;
  int64_t modified;
  int32_t entry_offset;
  int32_t entry_count;
};
static_assert(sizeof(Prologue) == 32);

struct Entry {
  int32_t entry_bytes;
  int32_t name_offset;    // from the entry's start
  int32_t vector_length;  // 0: a single value
  char type;              // as in a Java signature
  uint8_t flags, units, variability;
  int32_t data_offset;  // from the entry's start
};
static_assert(sizeof(Entry) == 20);

// A counter: its name, and its value as a number or a text.
struct Counter {
  Slice name;
  bool is_number;
  uint64_t number;
  Slice text;
};

// Its functions are not inlined: sanitizers make frames large, and ours are bounded.
class PerfDataReader {
 public:
  explicit PerfDataReader(JvmCounters* counters) : counters_(*counters) {}

  void Add(const Counter& counter);
  void Finish();

 private:
  void AddGenerationSpace(Slice name, uint64_t value);
  void AddCollector(Slice name, const Counter& counter);

  JvmCounters& counters_;
  Slice vm_name_{}, vm_version_{};
  uint64_t ticks_per_second_ = 0;
  uint64_t loaded_ = 0, unloaded_ = 0;
  bool has_classes_ = false;
};

bool TakePrefix(Slice* rest, const char* prefix) {
  if (!StartsWith(*rest, prefix)) return false;
  *rest = Rest(*rest, strlen(prefix));
  return true;
}

[[gnu::noinline]] void PerfDataReader::Add(const Counter& counter) {
  Slice name = counter.name;
  if (!counter.is_number) {
    if (Equals(name, "java.property.java.vm.name")) vm_name_ = counter.text;
    if (Equals(name, "java.property.java.vm.version")) vm_version_ = counter.text;
    if (TakePrefix(&name, "sun.gc.collector.")) AddCollector(name, counter);
    return;
  }
  uint64_t value = counter.number;
  if (TakePrefix(&name, "java.cls.")) {
    bool loaded = Equals(name, "loadedClasses") || Equals(name, "sharedLoadedClasses");
    bool unloaded = Equals(name, "unloadedClasses") || Equals(name, "sharedUnloadedClasses");
    if (loaded) loaded_ += value;
    if (unloaded) unloaded_ += value;
    has_classes_ |= loaded || unloaded;
  } else if (Equals(name, "java.threads.live")) {
    counters_.threads.Set(value);
  } else if (Equals(name, "sun.os.hrt.frequency")) {
    ticks_per_second_ = value;
  } else if (TakePrefix(&name, "sun.gc.")) {
    if (Equals(name, "metaspace.used")) counters_.metaspace_used_bytes.Set(value);
    if (Equals(name, "metaspace.capacity")) counters_.metaspace_capacity_bytes.Set(value);
    if (Equals(name, "compressedclassspace.used")) counters_.class_space_used_bytes.Set(value);
    if (TakePrefix(&name, "generation.")) AddGenerationSpace(name, value);
    if (TakePrefix(&name, "collector.")) AddCollector(name, counter);
  }
}

// "0.space.1.used"
[[gnu::noinline]] void PerfDataReader::AddGenerationSpace(Slice name, uint64_t value) {
  uint64_t number = 0;
  if (!TakeDecimal(&name, &number) || !TakePrefix(&name, ".space.") || !TakeDecimal(&name, &number)) return;
  if (Equals(name, ".used")) counters_.heap_used_bytes.Add(value);
  if (Equals(name, ".capacity")) counters_.heap_capacity_bytes.Add(value);
}

// "0.invocations"
[[gnu::noinline]] void PerfDataReader::AddCollector(Slice name, const Counter& counter) {
  uint64_t number = 0;
  if (!TakeDecimal(&name, &number) || number >= JvmCounters::kMaxCollectors) return;
  JvmCounters::Collector& collector = counters_.collectors[number];
  if (!counter.is_number) {
    if (Equals(name, ".name")) CopyText(counter.text, collector.name, sizeof(collector.name));
  } else if (Equals(name, ".invocations")) {
    collector.count.Set(counter.number);
  } else if (Equals(name, ".time")) {
    collector.ns.Set(counter.number);  // ticks, until Finish()
  }
}

[[gnu::noinline]] void PerfDataReader::Finish() {
  TextBuffer version(counters_.version, sizeof(counters_.version) - 1);
  version.Append(vm_name_.text, vm_name_.bytes);
  if (vm_name_.bytes > 0 && vm_version_.bytes > 0) version.AppendChar(' ');
  version.Append(vm_version_.text, vm_version_.bytes);
  counters_.version[version.Size()] = 0;

  // Sizes are 0 only as long as nothing was collected: then they are not yet known.
  if (counters_.heap_used_bytes.value == 0) counters_.heap_used_bytes = {};
  if (counters_.metaspace_capacity_bytes.value == 0) {
    counters_.metaspace_used_bytes = counters_.metaspace_capacity_bytes = counters_.class_space_used_bytes = {};
  }

  if (has_classes_) counters_.classes.Set(loaded_ > unloaded_ ? loaded_ - unloaded_ : 0);

  constexpr uint64_t kNsPerSecond = 1'000'000'000;
  for (JvmCounters::Collector& collector : counters_.collectors) {
    if (!collector.ns.known) continue;
    uint64_t ticks = collector.ns.value;
    // The products below stay within 64 bits up to this frequency.
    if (ticks_per_second_ == 0 || ticks_per_second_ > 10 * kNsPerSecond) {
      collector.ns = {};
    } else {
      uint64_t rest = ticks % ticks_per_second_;
      collector.ns.Set(ticks / ticks_per_second_ * kNsPerSecond + rest * kNsPerSecond / ticks_per_second_);
    }
  }
}

// The entry at data[0..bytes) as a counter. False where it is broken, or of a type that is not wanted.
[[gnu::noinline]] bool ReadCounter(const unsigned char* data, const Entry& entry, size_t bytes, Counter* counter) {
  if (entry.name_offset < 0 || entry.data_offset < 0) return false;
  auto name_offset = static_cast<size_t>(entry.name_offset), data_offset = static_cast<size_t>(entry.data_offset);
  if (name_offset >= bytes || data_offset >= bytes) return false;
  const auto* text = reinterpret_cast<const char*>(data);
  size_t name_bytes = FindFirst({text + name_offset, bytes - name_offset}, 0);
  if (name_bytes == bytes - name_offset) return false;
  counter->name = {text + name_offset, name_bytes};
  if (entry.type == 'J' && entry.vector_length == 0 && bytes - data_offset >= sizeof(uint64_t)) {
    counter->is_number = true;
    memcpy(&counter->number, data + data_offset, sizeof(counter->number));
    return true;
  }
  if (entry.type != 'B' || entry.vector_length <= 0) return false;
  auto length = static_cast<size_t>(entry.vector_length);
  if (length > bytes - data_offset) length = bytes - data_offset;
  counter->is_number = false;
  counter->text = {text + data_offset, FindFirst({text + data_offset, length}, 0)};
  return true;
}

}  // namespace

bool ParsePerfData(const unsigned char* data, size_t bytes, JvmCounters* counters) {
  memset(counters, 0, sizeof(*counters));  // assigned {}, it would pass over the stack
  constexpr unsigned char kMagic[4] = {0xca, 0xfe, 0xc0, 0xc0};
  Prologue prologue;
  if (bytes < sizeof(prologue)) return false;
  memcpy(&prologue, data, sizeof(prologue));
  // The byte order of a process is ours: it is our own process.
  if (memcmp(prologue.magic, kMagic, sizeof(kMagic)) != 0 || prologue.byte_order != 1 || prologue.major != 2 ||
      prologue.accessible == 0 || prologue.entry_offset < 0) {
    return false;
  }
  PerfDataReader reader(counters);
  auto at = static_cast<size_t>(prologue.entry_offset);
  for (int32_t i = 0; i < prologue.entry_count; i++) {
    Entry entry;
    if (at > bytes || bytes - at < sizeof(entry)) break;
    memcpy(&entry, data + at, sizeof(entry));
    if (entry.entry_bytes < static_cast<int32_t>(sizeof(entry))) break;
    auto entry_bytes = static_cast<size_t>(entry.entry_bytes);
    if (entry_bytes > bytes - at) break;
    Counter counter{};
    if (ReadCounter(data + at, entry, entry_bytes, &counter)) reader.Add(counter);
    at += entry_bytes;
  }
  reader.Finish();
  return true;
}

}  // namespace leakshim
