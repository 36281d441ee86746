#include "dump/heap_writer.h"

#include <fcntl.h>

#include <cstring>

#include "capture/capture.h"
#include "capture/stack_table.h"
#include "dump/native_names.h"
#include "dump/perf_map.h"
#include "dump/process_facts.h"
#include "jvm/java_frames.h"
#include "jvm/java_names.h"
#include "os/os.h"
#include "unwind/module_map.h"

namespace leakshim {
namespace {

// A mapping for the time of one dump.
template <typename T>
class Scratch {
 public:
  explicit Scratch(size_t count) : bytes_(count * sizeof(T)), memory_(count == 0 ? nullptr : os::MapForDump(bytes_)) {}
  ~Scratch() {
    if (memory_ != nullptr) os::UnmapForDump(memory_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* get() const { return static_cast<T*>(memory_); }
  T& operator[](size_t i) const { return get()[i]; }

 private:
  size_t bytes_;
  void* memory_;
};

void SiftDown(Frame* frames, size_t root, size_t count) {
  for (;;) {
    size_t child = 2 * root + 1;
    if (child >= count) return;
    if (child + 1 < count && frames[child] < frames[child + 1]) child++;
    if (frames[root] >= frames[child]) return;
    Frame kept = frames[root];
    frames[root] = frames[child];
    frames[child] = kept;
    root = child;
  }
}

void SortFrames(Frame* frames, size_t count) {
  for (size_t i = count / 2; i-- > 0;) SiftDown(frames, i, count);
  for (size_t last = count; last-- > 1;) {
    Frame kept = frames[0];
    frames[0] = frames[last];
    frames[last] = kept;
    SiftDown(frames, 0, last);
  }
}

// The distinct frames of a snapshot's stacks, ordered, hence grouped by module.
class FrameSet {
 public:
  // False: no memory.
  bool Collect(const Snapshot& snapshot) {
    size_t frames_at_most = 0;
    for (const SnapshotCell* cell = snapshot.begin(); cell != snapshot.end(); cell++) {
      if (cell == snapshot.begin() || cell->stack != cell[-1].stack) frames_at_most += Depth(cell->stack);
    }
    places_ = 64;
    while (places_ < frames_at_most * 2) places_ *= 2;
    frames_ = static_cast<Frame*>(os::MapForDump(places_ * sizeof(Frame)));
    if (frames_ == nullptr) return false;
    for (const SnapshotCell* cell = snapshot.begin(); cell != snapshot.end(); cell++) {
      if (cell != snapshot.begin() && cell->stack == cell[-1].stack) continue;
      const Stack* stack = StackTable::Get(cell->stack);
      for (uint32_t i = 0; stack != nullptr && i < stack->depth; i++) Add(stack->frames[i]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < places_; i++) {
      if (frames_[i] != 0) frames_[kept++] = frames_[i];
    }
    count_ = kept;
    SortFrames(frames_, count_);
    return FindShared();
  }
  ~FrameSet() {
    if (frames_ != nullptr) os::UnmapForDump(frames_, places_ * sizeof(Frame));
    if (shared_ != nullptr) os::UnmapForDump(shared_, shared_count_ * sizeof(uintptr_t));
  }

  const Frame* begin() const { return frames_; }
  const Frame* end() const { return frames_ + count_; }

  // Whether modules of two times claim this address.
  bool IsShared(uintptr_t pc) const {
    for (size_t i = 0; i < shared_count_; i++) {
      if (shared_[i] == pc) return true;
    }
    return false;
  }
  bool AnyShared() const { return shared_count_ != 0; }

 private:
  static uint32_t Depth(StackId id) {
    const Stack* stack = StackTable::Get(id);
    return stack == nullptr ? 0 : stack->depth;
  }

  void Add(Frame frame) {
    if (frame == 0) return;
    size_t i = (frame * 0x9e3779b97f4a7c15u) >> 20;
    while (frames_[i & (places_ - 1)] != 0 && frames_[i & (places_ - 1)] != frame) i++;
    frames_[i & (places_ - 1)] = frame;
  }

  // Rare: only after a library was unloaded and another came to its place. Addresses alone, ordered; neighbours that
  // are equal are shared.
  bool FindShared() {
    bool reused = false;
    for (uint32_t a = 1; a <= ModuleCount() && !reused; a++) {
      for (uint32_t b = a + 1; b <= ModuleCount() && !reused; b++) {
        const Module* first = GetModule(static_cast<ModuleId>(a));
        const Module* second = GetModule(static_cast<ModuleId>(b));
        reused = first != nullptr && second != nullptr && first->start < second->end && second->start < first->end;
      }
    }
    if (!reused) return true;
    Scratch<Frame> pcs(count_);
    if (pcs.get() == nullptr) return count_ == 0;
    for (size_t i = 0; i < count_; i++) pcs[i] = FramePc(frames_[i]);
    SortFrames(pcs.get(), count_);
    size_t shared = 0;
    for (size_t i = 1; i < count_; i++) shared += pcs[i] == pcs[i - 1];
    if (shared == 0) return true;
    shared_ = static_cast<uintptr_t*>(os::MapForDump(shared * sizeof(uintptr_t)));
    if (shared_ == nullptr) return false;
    for (size_t i = 1; i < count_; i++) {
      if (pcs[i] == pcs[i - 1]) shared_[shared_count_++] = pcs[i];
    }
    return true;
  }

  Frame* frames_ = nullptr;
  size_t places_ = 0;
  size_t count_ = 0;
  uintptr_t* shared_ = nullptr;
  size_t shared_count_ = 0;
};

struct Counts {
  uint64_t objects, bytes, accum_objects, accum_bytes;

  void Add(const Counts& other) {
    objects += other.objects;
    bytes += other.bytes;
    accum_objects += other.accum_objects;
    accum_bytes += other.accum_bytes;
  }
  bool Any() const { return objects != 0 || accum_objects != 0; }
};

// Up or down with the chance that keeps the mean, by a lot that is the cell's own: counts of one would otherwise all
// err to the same side.
uint64_t Round(double value, const SnapshotCell& cell) {
  auto whole = static_cast<uint64_t>(value);
  uint64_t hash = (uint64_t{cell.stack} << 32 | cell.thread_uid) ^ uint64_t { cell.size_class } << 40 ^ cell.lg;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  auto lot = static_cast<double>((hash ^ (hash >> 31)) >> 11) / static_cast<double>(uint64_t{1} << 53);
  return lot < value - static_cast<double>(whole) ? whole + 1 : whole;
}

// What stands in a dump of interval 2^lg_file for samples that were drawn under another one: so many that the reader's
// correction gives their true weight.
void Rescale(uint64_t* objects, uint64_t* bytes, const SnapshotCell& cell, unsigned lg_file) {
  if (*objects == 0) return;
  double mean = static_cast<double>(*bytes) / static_cast<double>(*objects);
  auto share = [mean](unsigned of) {
    return of == 0 ? 1.0 : SampledShare(mean / static_cast<double>(uint64_t{1} << of));
  };
  *objects = Round(static_cast<double>(*objects) * share(lg_file) / share(cell.lg), cell);
  *bytes = static_cast<uint64_t>(static_cast<double>(*objects) * mean + 0.5);
}

Counts CountsOf(const SnapshotCell& cell, unsigned lg_file) {
  Counts counts{cell.objects, cell.bytes, cell.accum_objects, cell.accum_bytes};
  if (cell.lg != lg_file) {
    Rescale(&counts.objects, &counts.bytes, cell, lg_file);
    Rescale(&counts.accum_objects, &counts.accum_bytes, cell, lg_file);
  }
  return counts;
}

void AppendCounts(TextBuffer& out, const Counts& counts) {
  out.AppendDecimal(counts.objects).Append(": ").AppendDecimal(counts.bytes).Append(" [");
  out.AppendDecimal(counts.accum_objects).Append(": ").AppendDecimal(counts.accum_bytes).AppendChar(']');
}

void AppendKey(TextBuffer& out, const char* key) {
  out.Append("# ").Append(key).AppendChar(' ');
}

class HeapWriter {
 public:
  HeapWriter(const Snapshot& snapshot, const DumpContext& context, TextBuffer& out)
      : snapshot_(snapshot),
        context_(context),
        out_(out),
        thread_count_(ThreadBuffer::ThreadCount()),
        threads_(size_t{thread_count_} + 1) {}

  bool Write() {
    if (threads_.get() == nullptr || !frames_.Collect(snapshot_)) return false;
    ChooseInterval();
    RenewThreadNames();
    WriteTotals();
    WriteAbout();
    WriteThreads();
    WriteStacks();
    WriteModules();
    WriteFramesOfModules();
    WriteMappedLibraries();
    return true;
  }

 private:
  // The smallest interval among the samples: a smaller one can be pre-scaled up to, never down from.
  void ChooseInterval() {
    bool any = false;
    for (const SnapshotCell& cell : snapshot_) {
      if (!any || cell.lg < lg_file_) lg_file_ = cell.lg;
      any = true;
    }
    if (!any) lg_file_ = context_.lg_sample;
  }

  // A thread's name while it lives is what the kernel says now.
  void RenewThreadNames() {
    for (const SnapshotCell& cell : snapshot_) {
      Counts counts = CountsOf(cell, lg_file_);
      totals_.Add(counts);
      if (cell.thread_uid > thread_count_) continue;
      bool first_look = !threads_[cell.thread_uid].Any();
      threads_[cell.thread_uid].Add(counts);
      ThreadInfo* info = first_look ? ThreadBuffer::Thread(cell.thread_uid) : nullptr;
      if (info == nullptr) continue;
      char path[64];
      TextBuffer name_path(path, sizeof(path));
      name_path.Append("/proc/").AppendSigned(context_.pid).Append("/task/");
      name_path.AppendSigned(info->tid.load(std::memory_order_relaxed)).Append("/comm").AppendChar(0);
      char name[16] = {};
      int64_t length = os::ReadFile(path, name, sizeof(name) - 1);
      if (length <= 0) continue;
      if (name[length - 1] == '\n') name[length - 1] = 0;
      SetThreadName(info, name);
    }
  }

  void AppendThreadName(uint32_t uid) {
    const ThreadInfo* info = ThreadBuffer::Thread(uid);
    if (info == nullptr) return;
    char name[kThreadNameBytes];
    ReadThreadName(*info, name);
    if (name[0] != 0) out_.AppendChar(' ').AppendEscaped(name, TextBuffer::Escape::kLastField);
  }

  void WriteTotals() {
    out_.Append("heap_v2/").AppendDecimal(lg_file_ == 0 ? 0 : uint64_t{1} << lg_file_).Append("\n  t*: ");
    AppendCounts(out_, totals_);
    out_.AppendChar('\n');
    for (uint32_t uid = 1; uid <= thread_count_; uid++) {
      if (!threads_[uid].Any()) continue;
      out_.Append("  t").AppendDecimal(uid).Append(": ");
      AppendCounts(out_, threads_[uid]);
      AppendThreadName(uid);
      out_.AppendChar('\n');
    }
  }

  void WriteNumber(const char* key, uint64_t value) {
    AppendKey(out_, key);
    out_.AppendDecimal(value).AppendChar('\n');
  }

  void WriteSeconds(const char* key, uint64_t ns) {
    AppendKey(out_, key);
    out_.AppendSeconds(ns).AppendChar('\n');
  }

  void WriteText(const char* key, const char* text) {
    AppendKey(out_, key);
    out_.AppendEscaped(text, TextBuffer::Escape::kLastField).AppendChar('\n');
  }

  void WriteAbout() {
    out_.Append("# leakshim 1\n");
    WriteText("about.version", LEAKSHIM_VERSION);
    if (context_.label[0] != 0) WriteText("about.label", context_.label);
    uint64_t now_ns = os::RealtimeNs();
    WriteSeconds("about.dump_time", now_ns);
    if (context_.facts != nullptr && context_.facts->start_time_ns.known &&
        now_ns > context_.facts->start_time_ns.value) {
      WriteSeconds("about.uptime", now_ns - context_.facts->start_time_ns.value);
    }
    WriteNumber("about.seq", context_.seq);
    WriteText("about.reason", DumpReasonText(context_.reason));
    if (context_.fork != nullptr) WriteText("about.fork", context_.fork);
    WriteNumber("about.interval", context_.lg_sample == 0 ? 0 : uint64_t{1} << context_.lg_sample);
    static constexpr const char* kUnwinders[] = {"none", "cfi", "libunwind", "fp"};
    WriteText("about.unwinder", kUnwinders[static_cast<int>(context_.unwind)]);
    WriteJavaStatus();
    if (context_.facts != nullptr) WriteProcessFacts(*context_.facts, context_.with_command_line, out_);
    ThreadBuffer::Totals sums = ThreadBuffer::Sum();
    WriteNumber("books.samples", sums.samples);
    WriteNumber("books.live_samples", snapshot_.live_samples());
    WriteNumber("books.allocated", sums.allocated_bytes);
    WriteNumber("books.dropped_memory", capture_books.dropped_memory.load(std::memory_order_relaxed));
    WriteNumber("books.dropped_nested", capture_books.dropped_nested.load(std::memory_order_relaxed));
    WriteNumber("books.unseen_frees", capture_books.unseen_frees.load(std::memory_order_relaxed));
    WriteNumber("books.truncated_stacks", capture_books.truncated_stacks.load(std::memory_order_relaxed));
    if (JavaBooks java = ReadJavaBooks(); java.samples != 0) {
      WriteNumber("books.java_samples", java.samples);
      WriteNumber("books.java_whole", java.whole);
      WriteNumber("books.java_depth_limit", java.depth_limit);
      WriteNumber("books.java_cut", java.cut);
    }
    WriteNumber("books.shortened_stacks", capture_books.shortened_stacks.load(std::memory_order_relaxed));
    WriteNumber("books.thinned", capture_books.thinned.load(std::memory_order_relaxed));
    WriteNumber("books.dumps", context_.dumps_written);
    WriteNumber("books.dumps_failed", context_.dumps_failed);
    if (context_.dumps_removed != 0) WriteNumber("books.dumps_removed", context_.dumps_removed);
    WriteNumber("books.own_memory", os::OwnMemoryBytes());
    WriteSeconds("books.own_dump_cpu", context_.dump_cpu_ns);
    WriteSeconds("books.longest_stall", context_.longest_stall_ns);
  }

  void WriteJavaStatus() {
    JavaStatus java = ReadJavaStatus();
    if (!java.jvm_found) return;
    // The JVM's own counters tell more, where it keeps them.
    bool has_counters = context_.facts != nullptr && context_.facts->has_jvm;
    if (!has_counters && java.version[0] != 0) WriteText("about.jvm", java.version);
    AppendKey(out_, "about.java_frames");
    if (java.on) {
      out_.Append("on\n");
    } else {
      out_.Append("off: ").AppendEscaped(java.reason, TextBuffer::Escape::kLastField).AppendChar('\n');
    }
  }

  void WriteThreads() {
    for (uint32_t uid = 1; uid <= thread_count_; uid++) {
      if (!threads_[uid].Any()) continue;
      const ThreadInfo* info = ThreadBuffer::Thread(uid);
      if (info == nullptr) continue;
      out_.Append("# thread ")
          .AppendDecimal(uid)
          .AppendChar(' ')
          .AppendSigned(info->tid.load(std::memory_order_relaxed));
      AppendThreadName(uid);
      out_.AppendChar('\n');
    }
  }

  void WriteStacks() {
    const SnapshotCell* cell = snapshot_.begin();
    while (cell != snapshot_.end()) {
      const SnapshotCell* next = cell;
      while (next != snapshot_.end() && next->stack == cell->stack) next++;
      if (const Stack* stack = StackTable::Get(cell->stack)) WriteStack(*stack, cell, next);
      cell = next;
    }
  }

  void WriteStack(const Stack& stack, const SnapshotCell* cell, const SnapshotCell* end) {
    out_.AppendChar('@');
    bool shared = false;
    for (uint32_t i = 0; i < stack.depth; i++) {
      out_.AppendChar(' ').AppendHex(FramePc(stack.frames[i]));
      shared = shared || (frames_.AnyShared() && frames_.IsShared(FramePc(stack.frames[i])));
    }
    out_.AppendChar('\n');
    uint64_t ages[kAgeBuckets] = {};
    bool raw = false, alive = false;
    for (const SnapshotCell* at = cell; at != end;) {
      // One size class: its total, then its threads.
      const SnapshotCell* next = at;
      Counts total{};
      while (next != end && next->size_class == at->size_class) {
        total.Add(CountsOf(*next, lg_file_));
        raw = raw || next->lg != lg_file_;
        alive = alive || next->objects != 0;
        for (int i = 0; i < kAgeBuckets; i++) ages[i] += next->ages[i];
        next++;
      }
      out_.Append("  t*: ");
      AppendCounts(out_, total);
      out_.AppendChar('\n');
      for (; at != next; at++) {
        out_.Append("  t").AppendDecimal(at->thread_uid).Append(": ");
        AppendCounts(out_, CountsOf(*at, lg_file_));
        out_.AppendChar('\n');
      }
    }
    if (alive) {
      out_.Append("# age");
      for (uint64_t samples : ages) out_.AppendChar(' ').AppendDecimal(samples);
      out_.AppendChar('\n');
    }
    for (const SnapshotCell* at = cell; raw && at != end; at++) {
      if (at->lg == lg_file_) continue;
      out_.Append("# raw ").AppendDecimal(at->lg == 0 ? 0 : uint64_t{1} << at->lg).AppendChar(' ');
      out_.AppendDecimal(at->objects).AppendChar(' ').AppendDecimal(at->bytes).AppendChar('\n');
    }
    if (stack.truncated) out_.Append("# truncated\n");
    if (shared) {
      out_.Append("# modules");
      for (uint32_t i = 0; i < stack.depth; i++) out_.AppendChar(' ').AppendDecimal(FrameModule(stack.frames[i]));
      out_.AppendChar('\n');
    }
  }

  void WriteModules() {
    ModuleId last = kNoModule;
    for (Frame frame : frames_) {
      if (IsJavaFrame(frame) || FrameModule(frame) == last) continue;
      last = FrameModule(frame);
      const Module* module = GetModule(last);
      if (module == nullptr) continue;
      out_.Append("# module ").AppendDecimal(last).AppendChar(' ');
      for (unsigned i = 0; i < module->build_id_bytes; i++) {
        static constexpr char kHex[] = "0123456789abcdef";
        out_.AppendChar(kHex[module->build_id[i] >> 4]).AppendChar(kHex[module->build_id[i] & 15]);
      }
      if (module->build_id_bytes == 0) out_.AppendChar('-');
      out_.AppendChar(' ').AppendHex(module->start).AppendChar(' ').AppendHex(module->end).AppendChar(' ');
      out_.AppendHex(module->bias).AppendChar(' ');
      out_.AppendEscaped(module->path, TextBuffer::Escape::kLastField).AppendChar('\n');
    }
  }

  void WriteFramesOfModules() {
    const Frame* frame = frames_.begin();
    while (frame != frames_.end()) {
      const Frame* next = frame;
      while (next != frames_.end() && FrameModule(*next) == FrameModule(*frame) &&
             IsJavaFrame(*next) == IsJavaFrame(*frame)) {
        next++;
      }
      const Module* module = GetModule(FrameModule(*frame));
      if (IsJavaFrame(*frame)) {
        for (; frame != next; frame++) WriteJavaFrame(*frame);
      } else if (module == nullptr) {
        WriteUnknownFrames(frame, next);
      } else {
        WriteFramesOf(*module, frame, next);
      }
      frame = next;
    }
  }

  void AppendField(const char* text) {
    if (text[0] == 0) text = "-";
    out_.AppendEscaped(text).AppendChar(' ');
  }

  void WriteJavaFrame(Frame frame) {
    const JavaName* name = JavaNames::Get(frame);
    if (name == nullptr) return;
    out_.Append("# java ").AppendHex(frame).AppendChar(' ').Append(JavaKindText(name->kind)).AppendChar(' ');
    AppendField(name->class_name);
    AppendField(name->method);
    out_.AppendSigned(name->line).AppendChar(' ');
    out_.AppendEscaped(name->file[0] == 0 ? "-" : name->file, TextBuffer::Escape::kLastField).AppendChar('\n');
  }

  void WriteUnknownFrames(const Frame* frame, const Frame* end);
  void WriteFramesOf(const Module& module, const Frame* frame, const Frame* end);
  void WriteFrame(const Module& module, Frame frame, const char* symbol, uint64_t offset);

  void WriteMappedLibraries() {
    // Our own: the dump task shares the memory, and has it still when the process was killed meanwhile, whose own file
    // is empty then.
    int fd = os::Open("/proc/self/maps", O_RDONLY);
    if (fd < 0) return;  // as jemalloc: no map is no error
    out_.Append("\nMAPPED_LIBRARIES:\n");
    Scratch<char> buffer(64 << 10);
    int64_t bytes;
    while (buffer.get() != nullptr && (bytes = os::Read(fd, buffer.get(), 64 << 10)) > 0) {
      out_.Append(buffer.get(), static_cast<size_t>(bytes));
    }
    os::Close(fd);
  }

  const Snapshot& snapshot_;
  const DumpContext& context_;
  TextBuffer& out_;
  FrameSet frames_;
  const uint32_t thread_count_;  // uids that the snapshot can hold: threads born later have nothing in it
  Scratch<Counts> threads_;      // by uid
  Counts totals_{};
  unsigned lg_file_ = 0;
};

// Code of no module: compiled at run time, and maybe named in a perf map.
void HeapWriter::WriteUnknownFrames(const Frame* frame, const Frame* end) {
  auto count = static_cast<size_t>(end - frame);
  Scratch<uintptr_t> addresses(count);
  struct Context {
    HeapWriter* self;
    const Frame* frame;
    size_t next;

    void WriteUpTo(size_t index) {
      while (next < index) Write().AppendChar('\n');
    }
    TextBuffer& Write() { return self->out_.Append("# pc ").AppendHex(FramePc(frame[next++])).Append(" 0 0x0"); }
  } pcs{this, frame, 0};
  if (addresses.get() != nullptr) {
    for (size_t i = 0; i < count; i++) addresses[i] = FramePc(frame[i]) - 1;
    char path[64];
    TextBuffer map_path(path, sizeof(path));
    map_path.Append("/tmp/perf-").AppendSigned(context_.pid).Append(".map").AppendChar(0);
    FindPerfMapNames(
        path, addresses.get(), count,
        [](void* data, size_t index, Slice name, uintptr_t start) {
          auto* to = static_cast<Context*>(data);
          to->WriteUpTo(index);
          uintptr_t pc = FramePc(to->frame[index]);
          to->Write().AppendChar(' ').AppendEscaped(name.text, name.bytes, TextBuffer::Escape::kLastField);
          to->self->out_.AppendChar('+').AppendHex(pc - start).AppendChar('\n');
        },
        &pcs);
  }
  pcs.WriteUpTo(count);
}

void HeapWriter::WriteFramesOf(const Module& module, const Frame* frame, const Frame* end) {
  auto count = static_cast<size_t>(end - frame);
  Scratch<uintptr_t> addresses(count);
  if (addresses.get() == nullptr) return;
  // A return address belongs to the call before it; only the hooks themselves are captured as they are.
  bool own = module.id == capture_config.own_module;
  for (size_t i = 0; i < count; i++) addresses[i] = FramePc(frame[i]) - (own ? 0 : 1);
  struct Context {
    HeapWriter* self;
    const Module* module;
    const Frame* frame;
    size_t next;
    bool own;
  } names{this, &module, frame, 0, own};
  FindNativeNames(
      module, addresses.get(), count,
      [](void* data, size_t index, const char* symbol, uint64_t offset) {
        auto* to = static_cast<Context*>(data);
        while (to->next < index) to->self->WriteFrame(*to->module, to->frame[to->next++], nullptr, 0);
        to->self->WriteFrame(*to->module, to->frame[to->next++], symbol, offset + (to->own ? 0 : 1));
      },
      &names);
  while (names.next < count) WriteFrame(module, frame[names.next++], nullptr, 0);
}

void HeapWriter::WriteFrame(const Module& module, Frame frame, const char* symbol, uint64_t offset) {
  out_.Append("# pc ").AppendHex(FramePc(frame)).AppendChar(' ').AppendDecimal(module.id).AppendChar(' ');
  out_.AppendHex(FramePc(frame) - module.bias);
  if (symbol != nullptr) {
    out_.AppendChar(' ').AppendEscaped(symbol, TextBuffer::Escape::kLastField).AppendChar('+').AppendHex(offset);
  }
  out_.AppendChar('\n');
}

}  // namespace

double SampledShare(double x) {
  if (x < 0.5) {
    // Alternating series of 1 - exp(-x).
    double term = x, sum = 0;
    for (int n = 2; term > 1e-18 * x || term < -1e-18 * x; n++) {
      sum += term;
      term *= -x / n;
    }
    return sum;
  }
  if (x > 50) return 1;
  // exp(-x) = exp(-x / 2^k)^(2^k), with the small part from the series above.
  int halvings = 0;
  while (x >= 0.5) {
    x /= 2;
    halvings++;
  }
  double kept = 1 - SampledShare(x);
  while (halvings-- > 0) kept *= kept;
  return 1 - kept;
}

bool WriteHeap(const Snapshot& snapshot, const DumpContext& context, TextBuffer& out) {
  return HeapWriter(snapshot, context, out).Write();
}

}  // namespace leakshim
