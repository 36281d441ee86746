// The tables, as SCHEMA.md explains them.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leakshim {

inline constexpr int kSchemaVersion = 1;

// In the order in which rows refer to each other.
enum class Table { kProcesses, kFrames, kStacks, kStackFrames, kDumps, kStackValues };
inline constexpr size_t kTables = 6;

struct Column {
  const char* name;
  const char* type;  // PostgreSQL's; the constraints of a single column with it
};

struct TableSpec {
  const char* name;
  absl::Span<const Column> columns;
  const char* constraint;  // "": none
  bool by_key = false;     // SQLite: stored in the order of its primary key
};

const TableSpec& SpecOf(Table table);

// "a, b, c": the columns of a table.
std::string ColumnNames(Table table);

// Statements that make everything, with the version in it.
std::string CreateTables(bool sqlite);

}  // namespace leakshim
