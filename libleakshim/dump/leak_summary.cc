#include "dump/leak_summary.h"

#include "capture/stack_table.h"
#include "capture/table_sizes.h"
#include "capture/thread_buffer.h"
#include "dump/live_estimate.h"
#include "os/os.h"

namespace leakshim {
namespace {

// One decimal from a KiB on.
void AppendSize(TextBuffer& out, uint64_t bytes) {
  static constexpr const char* kUnits[] = {" B", " KiB", " MiB", " GiB", " TiB"};
  int unit = 0;
  uint64_t tenths = bytes * 10;
  for (; tenths >= 10'240 && unit < 4; unit++) tenths /= 1024;
  out.AppendDecimal(tenths / 10);
  if (unit > 0) out.AppendChar('.').AppendDecimal(tenths % 10);
  out.Append(kUnits[unit]);
}

}  // namespace

LeakSummary SummarizeLive() {
  LeakSummary summary{};
  uint64_t objects_q10 = 0;  // in units of 2^-10
  size_t seen_bytes = StackTable::Count() / 8 + 1;
  auto* seen = static_cast<unsigned char*>(os::MapForDump(seen_bytes));
  RecordId bound = ThreadBuffer::Bound();
  for (RecordId id = 0; id < bound; id++) {
    const Record* record = id % kChunkSlots == 0 ? nullptr : ThreadBuffer::At(id);
    if (record == nullptr) continue;
    // acquire: pairs with Publish(); who sees kLive sees the stack.
    Life life{record->life.load(std::memory_order_acquire)};
    if (life.state() != RecordState::kLive) continue;
    uint64_t size = life.size_bytes() == 0 ? 1 : life.size_bytes(), weight = SampleWeight(size, life.lg());
    summary.samples++;
    summary.bytes += weight;
    objects_q10 += (weight / size << 10) + (weight % size << 10) / size;
    StackId stack = record->stack.load(std::memory_order_relaxed);
    if (seen == nullptr || stack / 8 >= seen_bytes) continue;
    auto bit = static_cast<unsigned char>(1u << stack % 8);
    summary.stacks += (seen[stack / 8] & bit) == 0;
    seen[stack / 8] |= bit;
  }
  if (seen != nullptr) os::UnmapForDump(seen, seen_bytes);
  summary.objects = (objects_q10 + 512) >> 10;
  return summary;
}

void AppendLeakSummary(const LeakSummary& summary, TextBuffer& out) {
  if (summary.samples == 0) {
    out.Append("nothing sampled is live at exit");
    return;
  }
  out.Append("not freed at exit: about ");
  AppendSize(out, summary.bytes);
  out.Append(" in ").AppendDecimal(summary.objects).Append(" objects, ").AppendDecimal(summary.samples);
  out.Append(" samples, ").AppendDecimal(summary.stacks).Append(" stacks");
}

}  // namespace leakshim
