#include "dump/process_facts.h"

#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

#include <cstring>

#include "os/os.h"
#include "os/text.h"

namespace leakshim {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kNsPerTick = kNsPerSecond / 100;  // USER_HZ, fixed in the kernel's interface
constexpr size_t kPerfDataBytes = 256 << 10;         // -XX:PerfDataMemorySize is 32 KiB unless it is raised

struct Scratch {
  char path[512];
  char text[16 << 10];
  char cgroup_text[16 << 10];
  CgroupFinder cgroup;
  utsname names;
  unsigned char perf_data[kPerfDataBytes];
};

// Its functions are not inlined: sanitizers make frames large, and ours are bounded.
class Collector {
 public:
  Collector(int pid, ProcessFacts* facts, const char* proc, Scratch* scratch)
      : pid_(pid), facts_(*facts), proc_(proc), scratch_(*scratch) {}

  void CollectIdentity();
  void CollectMemory();

 private:
  // <proc>/<folder>/<file>, valid until the next call.
  const char* Path(const char* folder, const char* file);
  Slice ReadText(const char* path);
  // Threads and start as the process has them, not the dump task.
  bool ReadStat(uint64_t* threads, uint64_t* start_ticks);
  void ReadMaps();
  void ReadPerfData(uintptr_t start, uintptr_t end);
  void ReadCgroup();

  const int pid_;
  ProcessFacts& facts_;
  const char* const proc_;
  Scratch& scratch_;
};

const char* Collector::Path(const char* folder, const char* file) {
  TextBuffer text(scratch_.path, sizeof(scratch_.path) - 1);
  text.Append(proc_).AppendChar('/').Append(folder).AppendChar('/').Append(file);
  scratch_.path[text.Size()] = 0;
  return scratch_.path;
}

Slice Collector::ReadText(const char* path) {
  int64_t n = os::ReadFile(path, scratch_.text, sizeof(scratch_.text));
  return {scratch_.text, n > 0 ? static_cast<size_t>(n) : 0};
}

// The parent's number is read from /proc rather than taken from pid_: procfs may be of an outer pid namespace.
[[gnu::noinline]] bool Collector::ReadStat(uint64_t* threads, uint64_t* start_ticks) {
  Slice stat = ReadText(Path("self", "stat"));
  if (os::ProcessId() != pid_) {
    size_t name_end = FindLast(stat, ')');
    if (name_end + 4 > stat.bytes) return false;
    Slice rest = Rest(stat, name_end + 4);  // ") S "
    uint64_t parent = 0;
    if (!TakeDecimal(&rest, &parent)) return false;
    char folder[24];
    TextBuffer text(folder, sizeof(folder) - 1);
    text.AppendDecimal(parent);
    folder[text.Size()] = 0;
    stat = ReadText(Path(folder, "stat"));
  }
  return ParseStat(stat, threads, start_ticks);
}

uint64_t BootTimeClockNs() {
  timespec now{};
  if (os::Syscall(SYS_clock_gettime, CLOCK_BOOTTIME, reinterpret_cast<long>(&now)) != 0) return 0;
  return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

[[gnu::noinline]] void Collector::CollectIdentity() {
  facts_.pid = pid_;
  facts_.start_time_ns = {};
  uint64_t threads = 0, start_ticks = 0;
  if (ReadStat(&threads, &start_ticks)) {
    // Not btime of /proc/stat: on a large machine that file takes milliseconds.
    uint64_t since_boot = 0, now = 0, start = start_ticks * kNsPerTick;
    // The two clocks at one moment: again if we were interrupted between them.
    for (int i = 0; i < 5; i++) {
      since_boot = BootTimeClockNs();
      now = os::RealtimeNs();
      if (BootTimeClockNs() - since_boot < kNsPerSecond / 10'000) break;
    }
    if (since_boot >= start && now > since_boot - start) facts_.start_time_ns.Set(now - (since_boot - start));
  }
  Slice boot_id = ReadText(Path("sys/kernel/random", "boot_id"));
  CopyText(TakeField(&boot_id, '\n'), facts_.boot_id, sizeof(facts_.boot_id));
  facts_.host[0] = 0;
  if (os::Syscall(SYS_uname, reinterpret_cast<long>(&scratch_.names)) == 0) {
    const char* name = scratch_.names.nodename;
    CopyText({name, strlen(name)}, facts_.host, sizeof(facts_.host));
  }
  int64_t n = os::ReadLink(Path("self", "exe"), facts_.executable, sizeof(facts_.executable) - 1);
  facts_.executable[n > 0 ? n : 0] = 0;
  n = os::ReadFile(Path("self", "cmdline"), facts_.cmdline, sizeof(facts_.cmdline));
  facts_.cmdline_bytes = n > 0 ? static_cast<size_t>(n) : 0;
}

[[gnu::noinline]] void Collector::CollectMemory() {
  facts_.rss_bytes = facts_.rss_anon_bytes = facts_.rss_file_bytes = facts_.rss_shmem_bytes = {};
  facts_.rss_peak_bytes = facts_.swap_bytes = facts_.threads = {};
  {
    Slice line;
    LineReader status(Path("self", "status"), scratch_.text, sizeof(scratch_.text));
    while (status.Next(&line)) ParseStatusLine(line, &facts_);
  }
  uint64_t threads = 0, start_ticks = 0;
  if (ReadStat(&threads, &start_ticks)) facts_.threads.Set(threads);
  ReadMaps();
  ReadCgroup();
}

[[gnu::noinline]] void Collector::ReadMaps() {
  facts_.has_maps = facts_.has_jvm = false;
  MapClassifier classifier;
  uintptr_t perf_start = 0, perf_end = 0;
  {
    Slice line;
    Mapping mapping;
    LineReader maps(Path("self", "maps"), scratch_.text, sizeof(scratch_.text));
    while (maps.Next(&line)) {
      if (!ParseMapping(line, &mapping)) continue;
      facts_.has_maps = true;
      classifier.Add(mapping);
      // Writable: the JVM's own. Tools such as jps map those of other JVMs, but only to read.
      if (mapping.shared && mapping.writable && Contains(mapping.path, "/hsperfdata_")) {
        perf_start = mapping.start;
        perf_end = mapping.end;
      }
    }
  }
  facts_.maps = classifier.Finish();
  if (perf_start != 0) ReadPerfData(perf_start, perf_end);
}

[[gnu::noinline]] void Collector::ReadPerfData(uintptr_t start, uintptr_t end) {
  size_t bytes = end - start < kPerfDataBytes ? end - start : kPerfDataBytes;
  int64_t n = os::SafeRead(scratch_.perf_data, start, bytes);
  facts_.has_jvm = n > 0 && ParsePerfData(scratch_.perf_data, static_cast<size_t>(n), &facts_.jvm);
}

[[gnu::noinline]] void Collector::ReadCgroup() {
  Slice line;
  {
    LineReader cgroups(Path("self", "cgroup"), scratch_.text, sizeof(scratch_.text));
    while (cgroups.Next(&line)) scratch_.cgroup.AddCgroupLine(line);
  }
  {
    LineReader mounts(Path("self", "mountinfo"), scratch_.text, sizeof(scratch_.text));
    while (mounts.Next(&line)) scratch_.cgroup.AddMountLine(line);
  }
  scratch_.cgroup.Read(&facts_.cgroup, scratch_.cgroup_text, sizeof(scratch_.cgroup_text));
}

// --- writing --------------------------------------------------------------------------------------------------------

void WriteText(TextBuffer& out, const char* key, const char* text) {
  if (text[0] == 0) return;
  out.Append("# ").Append(key).AppendChar(' ').AppendEscaped(text, TextBuffer::Escape::kLastField).AppendChar('\n');
}

void WriteNumber(TextBuffer& out, const char* key, Fact fact) {
  if (fact.known) out.Append("# ").Append(key).AppendChar(' ').AppendDecimal(fact.value).AppendChar('\n');
}

void WriteCmdline(TextBuffer& out, const ProcessFacts& facts) {
  if (facts.cmdline_bytes == 0) return;
  out.Append("# about.cmdline");
  Slice rest{facts.cmdline, facts.cmdline_bytes};
  while (rest.bytes > 0) {
    size_t argument_bytes = FindFirst(rest, 0);
    out.AppendChar(' ').AppendEscaped(rest.text, argument_bytes);
    rest = Rest(rest, argument_bytes < rest.bytes ? argument_bytes + 1 : argument_bytes);
  }
  out.AppendChar('\n');
}

void WriteJvm(TextBuffer& out, const JvmCounters& jvm) {
  WriteNumber(out, "jvm.heap_used", jvm.heap_used_bytes);
  WriteNumber(out, "jvm.heap_capacity", jvm.heap_capacity_bytes);
  WriteNumber(out, "jvm.metaspace_used", jvm.metaspace_used_bytes);
  WriteNumber(out, "jvm.metaspace_capacity", jvm.metaspace_capacity_bytes);
  WriteNumber(out, "jvm.class_space_used", jvm.class_space_used_bytes);
  WriteNumber(out, "jvm.classes", jvm.classes);
  WriteNumber(out, "jvm.threads", jvm.threads);
  for (size_t i = 0; i < JvmCounters::kMaxCollectors; i++) {
    const JvmCounters::Collector& collector = jvm.collectors[i];
    if (collector.name[0] == 0) continue;
    auto key = [&](const char* name) -> TextBuffer& {
      return out.Append("# jvm.gc.").AppendDecimal(i).AppendChar('.').Append(name).AppendChar(' ');
    };
    key("name").AppendEscaped(collector.name, TextBuffer::Escape::kLastField).AppendChar('\n');
    if (collector.count.known) key("count").AppendDecimal(collector.count.value).AppendChar('\n');
    if (collector.ns.known) key("seconds").AppendSeconds(collector.ns.value).AppendChar('\n');
  }
}

}  // namespace

[[gnu::noinline]] void ParseStatusLine(Slice line, ProcessFacts* facts) {
  struct Key {
    const char* name;
    Fact* fact;
  };
  const Key keys[] = {{"VmRSS:", &facts->rss_bytes},        {"RssAnon:", &facts->rss_anon_bytes},
                      {"RssFile:", &facts->rss_file_bytes}, {"RssShmem:", &facts->rss_shmem_bytes},
                      {"VmHWM:", &facts->rss_peak_bytes},   {"VmSwap:", &facts->swap_bytes}};
  for (const Key& key : keys) {
    if (!StartsWith(line, key.name)) continue;
    Slice rest = Rest(line, strlen(key.name));
    while (rest.bytes > 0 && (rest.text[0] == ' ' || rest.text[0] == '\t')) rest = Rest(rest, 1);
    uint64_t kib = 0;
    if (TakeDecimal(&rest, &kib) && kib < UINT64_MAX / 1024) key.fact->Set(kib * 1024);
    return;
  }
}

bool ParseStat(Slice text, uint64_t* threads, uint64_t* start_ticks) {
  // The second field, the program's name in brackets, may itself hold blanks and brackets.
  size_t name_end = FindLast(text, ')');
  if (name_end + 2 > text.bytes) return false;
  Slice rest = Rest(text, name_end + 2);
  bool has_threads = false;
  for (int field = 3; rest.bytes > 0; field++) {
    Slice value = TakeField(&rest);
    if (field == 20) has_threads = TakeDecimal(&value, threads);
    if (field == 22) return has_threads && TakeDecimal(&value, start_ticks);
  }
  return false;
}

void CollectProcessFacts(int pid, ProcessFacts* facts, const char* proc) {
  auto* scratch = static_cast<Scratch*>(os::MapForDump(sizeof(Scratch)));
  if (scratch == nullptr) return;
  Collector collector(pid, facts, proc, scratch);
  if (facts->pid != pid) collector.CollectIdentity();
  collector.CollectMemory();
  facts->deep = {};
  os::UnmapForDump(scratch, sizeof(Scratch));
}

void WriteProcessFacts(const ProcessFacts& facts, bool with_cmdline, TextBuffer& out) {
  WriteText(out, "about.executable", facts.executable);
  if (with_cmdline) WriteCmdline(out, facts);
  if (facts.pid != 0) out.Append("# about.pid ").AppendSigned(facts.pid).AppendChar('\n');
  if (facts.start_time_ns.known) {
    out.Append("# about.start_time ").AppendSeconds(facts.start_time_ns.value).AppendChar('\n');
  }
  WriteText(out, "about.boot_id", facts.boot_id);
  WriteText(out, "about.host", facts.host);
  if (facts.has_jvm) WriteText(out, "about.jvm", facts.jvm.version);

  WriteNumber(out, "memory.rss", facts.rss_bytes);
  WriteNumber(out, "memory.rss_anon", facts.rss_anon_bytes);
  WriteNumber(out, "memory.rss_file", facts.rss_file_bytes);
  WriteNumber(out, "memory.rss_shmem", facts.rss_shmem_bytes);
  WriteNumber(out, "memory.rss_peak", facts.rss_peak_bytes);
  WriteNumber(out, "memory.swap", facts.swap_bytes);
  WriteNumber(out, "memory.threads", facts.threads);
  WriteNumber(out, "memory.cgroup_usage", facts.cgroup.usage_bytes);
  WriteNumber(out, "memory.cgroup_working_set", facts.cgroup.working_set_bytes);
  WriteNumber(out, "memory.cgroup_limit", facts.cgroup.limit_bytes);
  if (facts.has_maps) {
    WriteNumber(out, "memory.map_heap", {true, facts.maps.heap_bytes});
    WriteNumber(out, "memory.map_arenas", {true, facts.maps.arenas_bytes});
    WriteNumber(out, "memory.map_stacks", {true, facts.maps.stacks_bytes});
    WriteNumber(out, "memory.map_anon", {true, facts.maps.anon_bytes});
    WriteNumber(out, "memory.map_files", {true, facts.maps.files_bytes});
    WriteNumber(out, "memory.arenas", {true, facts.maps.arenas});
    WriteNumber(out, "memory.stacks", {true, facts.maps.stacks});
  }
  WriteDeepFacts(facts.deep, out);
  if (facts.has_jvm) WriteJvm(out, facts.jvm);
}

}  // namespace leakshim
