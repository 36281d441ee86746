#include "database/schema.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace leakshim {
namespace {

constexpr Column kProcesses[] = {{"id", "BIGINT PRIMARY KEY"},    {"fingerprint", "TEXT NOT NULL UNIQUE"},
                                 {"service", "TEXT NOT NULL"},    {"label", "TEXT NOT NULL"},
                                 {"host", "TEXT NOT NULL"},       {"pid", "TEXT NOT NULL"},
                                 {"start_time", "TEXT NOT NULL"}, {"executable", "TEXT NOT NULL"},
                                 {"command", "TEXT NOT NULL"}};
constexpr Column kFrames[] = {{"id", "BIGINT PRIMARY KEY"},  {"fingerprint", "TEXT NOT NULL UNIQUE"},
                              {"function", "TEXT NOT NULL"}, {"name", "TEXT NOT NULL"},
                              {"file", "TEXT NOT NULL"},     {"line", "BIGINT"},
                              {"mapping", "TEXT NOT NULL"},  {"kind", "TEXT NOT NULL"},
                              {"library", "BIGINT NOT NULL"}};
constexpr Column kStacks[] = {
    {"id", "BIGINT PRIMARY KEY"}, {"fingerprint", "TEXT NOT NULL UNIQUE"}, {"frames", "BIGINT NOT NULL"}};
constexpr Column kStackFrames[] = {{"stack_id", "BIGINT NOT NULL REFERENCES stacks(id)"},
                                   {"depth", "BIGINT NOT NULL"},
                                   {"frame_id", "BIGINT NOT NULL REFERENCES frames(id)"}};
constexpr Column kDumps[] = {{"id", "BIGINT PRIMARY KEY"},
                             {"process_id", "BIGINT NOT NULL REFERENCES processes(id) ON DELETE CASCADE"},
                             {"file", "TEXT NOT NULL"},
                             {"seq", "BIGINT NOT NULL"},
                             {"time", "DOUBLE PRECISION NOT NULL"},
                             {"uptime", "DOUBLE PRECISION"},
                             {"reason", "TEXT NOT NULL"},
                             {"interval_bytes", "DOUBLE PRECISION NOT NULL"},
                             {"live_bytes", "DOUBLE PRECISION NOT NULL"},
                             {"live_variance", "DOUBLE PRECISION NOT NULL"},
                             {"live_objects", "DOUBLE PRECISION NOT NULL"},
                             {"allocated_bytes", "DOUBLE PRECISION"},
                             {"rss", "DOUBLE PRECISION"},
                             {"rss_anon", "DOUBLE PRECISION"},
                             {"rss_file", "DOUBLE PRECISION"},
                             {"rss_shmem", "DOUBLE PRECISION"},
                             {"swap", "DOUBLE PRECISION"},
                             {"threads", "DOUBLE PRECISION"},
                             {"cgroup_working_set", "DOUBLE PRECISION"},
                             {"cgroup_limit", "DOUBLE PRECISION"},
                             {"map_heap", "DOUBLE PRECISION"},
                             {"map_arenas", "DOUBLE PRECISION"},
                             {"map_stacks", "DOUBLE PRECISION"},
                             {"map_anon", "DOUBLE PRECISION"},
                             {"map_files", "DOUBLE PRECISION"},
                             {"java_heap_used", "DOUBLE PRECISION"},
                             {"java_heap_capacity", "DOUBLE PRECISION"},
                             {"metaspace", "DOUBLE PRECISION"},
                             {"classes", "DOUBLE PRECISION"}};
// Most rows by far: that they refer to something is not checked for each.
constexpr Column kStackValues[] = {{"dump_id", "BIGINT NOT NULL"},           {"stack_id", "BIGINT NOT NULL"},
                                   {"bytes", "DOUBLE PRECISION NOT NULL"},   {"variance", "DOUBLE PRECISION NOT NULL"},
                                   {"objects", "DOUBLE PRECISION NOT NULL"}, {"samples", "DOUBLE PRECISION NOT NULL"}};

constexpr TableSpec kSpecs[kTables] = {
    {"processes", kProcesses, ""},
    {"frames", kFrames, ""},
    {"stacks", kStacks, ""},
    {"stack_frames", kStackFrames, "PRIMARY KEY (stack_id, depth)", true},
    {"dumps", kDumps, "UNIQUE (process_id, seq, time)"},
    {"stack_values", kStackValues, "PRIMARY KEY (dump_id, stack_id)", true},
};

}  // namespace

const TableSpec& SpecOf(Table table) {
  return kSpecs[static_cast<size_t>(table)];
}

std::string ColumnNames(Table table) {
  return absl::StrJoin(SpecOf(table).columns, ", ",
                       [](std::string* out, const Column& column) { absl::StrAppend(out, column.name); });
}

std::string CreateTables(bool sqlite) {
  std::string sql = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);\n";
  for (const TableSpec& table : kSpecs) {
    std::string columns = absl::StrJoin(table.columns, ", ", [](std::string* out, const Column& column) {
      absl::StrAppend(out, column.name, " ", column.type);
    });
    // So named, SQLite takes it for its own number of the row.
    if (sqlite) columns = absl::StrReplaceAll(columns, {{"BIGINT", "INTEGER"}, {"DOUBLE PRECISION", "REAL"}});
    absl::StrAppend(&sql, "CREATE TABLE ", table.name, " (", columns, *table.constraint == '\0' ? "" : ", ",
                    table.constraint, ")", sqlite && table.by_key ? " WITHOUT ROWID" : "", ";\n");
  }
  absl::StrAppend(&sql, "INSERT INTO meta VALUES ('schema_version', '", kSchemaVersion, "');\n");
  return sql;
}

}  // namespace leakshim
