#include "database/loader.h"

#include <algorithm>
#include <cmath>

#include "absl/numeric/int128.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "output/human.h"
#include "report/fleet.h"

namespace leakshim {
namespace {

// As many rows make a transaction: some ten megabytes, and at most so much is done again after an interruption.
constexpr size_t kRowsAtOnce = 100'000;

// FNV-1a of 128 bits: the same in every version and on every machine, as it is kept.
std::string Fingerprint(absl::string_view text) {
  constexpr absl::uint128 kPrime = absl::MakeUint128(0x1000000, 0x13b);
  absl::uint128 hash = absl::MakeUint128(0x6c62272e07bb0142, 0x62b821756295c58d);
  for (char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= kPrime;
  }
  return absl::StrFormat("%016x%016x", absl::Uint128High64(hash), absl::Uint128Low64(hash));
}

double Milliseconds(double seconds) {
  return std::isfinite(seconds) && std::abs(seconds) < 1e12 ? std::round(seconds * 1000) : 0;
}

}  // namespace

absl::Status Loader::Learn(Table table, Ids* ids, int64_t* last) {
  const auto rows = database_.Ask(absl::StrCat("SELECT id, fingerprint FROM ", SpecOf(table).name));
  if (!rows.ok()) return rows.status();
  ids->reserve(rows->size());
  for (const std::vector<std::string>& row : *rows) {
    int64_t id = 0;
    if (!absl::SimpleAtoi(row[0], &id)) return absl::DataLossError("an id in the database is no number");
    ids->emplace(row[1], id);
    *last = std::max(*last, id);
  }
  return absl::OkStatus();
}

absl::Status Loader::Begin() {
  // In a transaction, which shows one state of all tables.
  if (absl::Status status = database_.Begin(); !status.ok()) return status;
  open_ = true;
  for (const auto& [table, ids, last] : {std::tuple(Table::kProcesses, &process_ids_, &last_process_),
                                         {Table::kFrames, &frame_ids_, &last_frame_},
                                         {Table::kStacks, &stack_ids_, &last_stack_}}) {
    if (absl::Status status = Learn(table, ids, last); !status.ok()) return status;
  }
  const auto last = database_.Ask("SELECT coalesce(max(id), 0) FROM dumps");
  if (!last.ok()) return last.status();
  return absl::SimpleAtoi(last->front().front(), &last_dump_)
             ? absl::OkStatus()
             : absl::DataLossError("an id in the database is no number");
}

absl::StatusOr<Loader::Process*> Loader::FindProcess(const ProcessSeries& series) {
  const std::string fingerprint = Fingerprint(series.key);
  auto [found, first] = processes_.try_emplace(fingerprint);
  Process& process = found->second;
  if (!first) return &process;
  if (const auto known = process_ids_.find(fingerprint); known != process_ids_.end()) {
    process.id = known->second;
    const auto rows = database_.Ask(absl::StrCat("SELECT seq, time FROM dumps WHERE process_id = ", process.id));
    if (!rows.ok()) return rows.status();
    for (const std::vector<std::string>& row : *rows) {
      int64_t number = 0;
      double time = 0;
      if (!absl::SimpleAtoi(row[0], &number) || !absl::SimpleAtod(row[1], &time)) {
        return absl::DataLossError("a dump in the database has no number or time");
      }
      process.dumps.emplace(number, static_cast<int64_t>(Milliseconds(time)));
    }
    return &process;
  }
  process.id = ++last_process_;
  std::vector<std::string> texts = {fingerprint, ServiceName(series), series.label,      series.host,
                                    series.pid,  series.start_time,   series.executable, series.command};
  std::vector<Value> row = {process.id};
  for (std::string& text : texts) row.emplace_back(absl::string_view(text = Utf8Text(text)));
  if (absl::Status status = database_.Insert(Table::kProcesses, row); !status.ok()) return status;
  return &process;
}

absl::StatusOr<int64_t> Loader::FrameRow(FunctionId function) {
  if (frames_by_function_.size() <= function) frames_by_function_.resize(function + 1);
  Frame& frame = frames_by_function_[function];
  if (frame.id != 0) return frame.id;
  const FunctionInfo& info = frames_.Info(function);
  frame.fingerprint = Fingerprint(info.key);
  auto [known, added] = frame_ids_.try_emplace(frame.fingerprint, last_frame_ + 1);
  frame.id = known->second;
  if (!added) return frame.id;
  ++last_frame_;
  const std::string key = Utf8Text(info.key), name = Utf8Text(info.name), file = Utf8Text(info.file),
                    mapping = Utf8Text(info.mapping), kind = Utf8Text(info.kind);
  const Value line = info.line > 0 ? Value(static_cast<int64_t>(info.line)) : Value();
  const std::vector<Value> row = {
      frame.id, frame.fingerprint, key, name, file, line, mapping, kind, static_cast<int64_t>(info.library)};
  if (absl::Status status = database_.Insert(Table::kFrames, row); !status.ok()) return status;
  return frame.id;
}

absl::StatusOr<int64_t> Loader::StackRow(const std::vector<FunctionId>& functions) {
  if (const auto known = stacks_by_functions_.find(functions); known != stacks_by_functions_.end()) {
    return known->second;
  }
  std::vector<int64_t> rows;
  std::string all;
  for (FunctionId function : functions) {
    const absl::StatusOr<int64_t> row = FrameRow(function);
    if (!row.ok()) return row.status();
    rows.push_back(*row);
    all += frames_by_function_[function].fingerprint;
  }
  const std::string fingerprint = Fingerprint(all);
  const auto [known, added] = stack_ids_.try_emplace(fingerprint, last_stack_ + 1);
  const int64_t id = known->second;
  stacks_by_functions_.emplace(functions, id);
  if (!added) return id;
  ++last_stack_;
  absl::Status status =
      database_.Insert(Table::kStacks, {id, absl::string_view(fingerprint), static_cast<int64_t>(rows.size())});
  for (size_t depth = 0; status.ok() && depth < rows.size(); ++depth) {
    status = database_.Insert(Table::kStackFrames, {id, static_cast<int64_t>(depth), rows[depth]});
  }
  rows_ += rows.size();
  if (!status.ok()) return status;
  return id;
}

absl::Status Loader::Add(const Profile& profile, double file_time) {
  SeriesBuilder builder(&frames_);
  builder.Add(profile, file_time);
  const std::vector<std::unique_ptr<ProcessSeries>> one = builder.Finish();
  const ProcessSeries& series = *one.front();
  const DumpFacts& facts = series.dumps.front();
  if (!open_) {
    if (absl::Status status = database_.Begin(); !status.ok()) return status;
    open_ = true;
  }
  const absl::StatusOr<Process*> process = FindProcess(series);
  if (!process.ok()) return process.status();
  const auto number = static_cast<int64_t>(facts.sequence);
  const double milliseconds = Milliseconds(facts.time);
  if (!(*process)->dumps.emplace(number, static_cast<int64_t>(milliseconds)).second) {
    ++counts_.known;
    return absl::OkStatus();
  }
  ++counts_.added;
  if (!std::exchange((*process)->counted, true)) ++counts_.processes;
  const int64_t id = ++last_dump_;
  const std::string file = Utf8Text(facts.file), reason = Utf8Text(std::string(profile.Fact("about.reason")));
  const std::vector<Value> row = {id,
                                  (*process)->id,
                                  file,
                                  number,
                                  milliseconds / 1000,
                                  facts.uptime,
                                  reason,
                                  facts.interval_bytes,
                                  facts.live_bytes,
                                  facts.live_variance,
                                  facts.live_objects,
                                  facts.allocated,
                                  facts.rss,
                                  facts.rss_anon,
                                  facts.rss_file,
                                  facts.rss_shmem,
                                  facts.swap,
                                  facts.threads,
                                  facts.cgroup_working_set,
                                  facts.cgroup_limit,
                                  facts.map_heap,
                                  facts.map_arenas,
                                  facts.map_stacks,
                                  facts.map_anon,
                                  facts.map_files,
                                  facts.heap_used,
                                  facts.heap_capacity,
                                  facts.metaspace,
                                  facts.classes};
  if (absl::Status status = database_.Insert(Table::kDumps, row); !status.ok()) return status;
  std::vector<std::pair<int64_t, const StackPoint*>> values;
  for (const StackSeries& stack : series.stacks) {
    const absl::StatusOr<int64_t> stack_id = StackRow(stack.functions);
    if (!stack_id.ok()) return stack_id.status();
    values.emplace_back(*stack_id, &stack.points.front());
  }
  std::sort(values.begin(), values.end());  // in the order in which they are stored
  for (const auto& [stack_id, point] : values) {
    const Value value[] = {
        id, stack_id, point->bytes, point->variance, point->objects, static_cast<double>(point->samples)};
    if (absl::Status status = database_.Insert(Table::kStackValues, value); !status.ok()) return status;
  }
  rows_ += values.size() + 1;
  return rows_ < kRowsAtOnce ? absl::OkStatus() : Commit();
}

absl::Status Loader::Commit() {
  if (!std::exchange(open_, false)) return absl::OkStatus();
  rows_ = 0;
  return database_.Commit();
}

absl::Status Loader::Finish() {
  absl::Status status = Commit();
  return status.ok() ? database_.Finish() : status;
}

}  // namespace leakshim
