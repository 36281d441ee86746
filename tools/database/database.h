// A database that rows go into: SQLite in a file, or a PostgreSQL server, with the same tables (SCHEMA.md).
//
// 1. Opening makes the tables where there are none yet. A file or a schema that is not ours, or of another version, is
// an
//    error and stays as it is.
// 2. Rows of one transaction become visible together, or not at all.
// 3. No message holds a password.
// Thread contract: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "database/schema.h"

namespace leakshim {

// NaN goes in as NULL, and so does no value at all.
using Value = std::variant<std::monostate, int64_t, double, absl::string_view>;

class Database {
 public:
  Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  virtual ~Database() = default;

  // The rows of a question, as text; NULL is empty.
  virtual absl::StatusOr<std::vector<std::vector<std::string>>> Ask(const std::string& sql) = 0;

  virtual absl::Status Begin() = 0;
  // `row` has a value for each column of `table`. May be kept back until Commit().
  virtual absl::Status Insert(Table table, absl::Span<const Value> row) = 0;
  // May return before all is done.
  virtual absl::Status Commit() = 0;
  // Waits until all is done.
  virtual absl::Status Finish() { return absl::OkStatus(); }
};

// `target`: a file, or postgresql://... Waits while somebody else writes. Errors: `target: what`.
absl::StatusOr<std::unique_ptr<Database>> OpenDatabase(const std::string& target);

// `target` as it may be shown: without passwords.
std::string ShownTarget(absl::string_view target);

// The two behind it.
absl::StatusOr<std::unique_ptr<Database>> OpenSqlite(const std::string& file);
absl::StatusOr<std::unique_ptr<Database>> OpenPostgres(const std::string& url);
bool IsPostgres(absl::string_view target);

}  // namespace leakshim
