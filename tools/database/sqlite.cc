#include <sqlite3.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "database/database.h"

namespace leakshim {
namespace {

// "Lksh": by this a file tells that it is ours, at a place that SQLite keeps for it.
constexpr uint32_t kApplicationId = 0x4c6b7368;

class Sqlite : public Database {
 public:
  explicit Sqlite(std::string file) : file_(std::move(file)) {}
  ~Sqlite() override {
    for (sqlite3_stmt* insert : inserts_) sqlite3_finalize(insert);
    sqlite3_close(database_);  // takes back what was not committed
  }

  absl::Status Open() {
    // A name that begins with a colon means something else to SQLite.
    const std::string name = file_.front() == '/' ? file_ : absl::StrCat("./", file_);
    if (sqlite3_open_v2(name.c_str(), &database_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr) != SQLITE_OK) {
      return Error();
    }
    constexpr int kPatienceMs = 60'000;
    sqlite3_busy_timeout(database_, kPatienceMs);
    return Run("PRAGMA cache_size = -65536");  // KiB
  }

  absl::Status Create() {
    if (absl::Status status = Run("BEGIN IMMEDIATE"); !status.ok()) return status;
    const absl::StatusOr<std::vector<std::vector<std::string>>> tables = Ask("SELECT count(*) FROM sqlite_schema");
    if (!tables.ok()) return tables.status();
    // Somebody else may have been here first.
    if (tables->front().front() != "0") return Run("COMMIT");
    return Run(absl::StrCat(CreateTables(true), "PRAGMA application_id = ", kApplicationId,
                            "; PRAGMA user_version = ", kSchemaVersion, "; COMMIT"));
  }

  absl::StatusOr<std::vector<std::vector<std::string>>> Ask(const std::string& sql) override {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) return Error();
    std::vector<std::vector<std::string>> rows;
    int result = 0;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
      std::vector<std::string>& row = rows.emplace_back();
      for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        const void* text = sqlite3_column_blob(statement, i);
        row.emplace_back(static_cast<const char*>(text == nullptr ? "" : text),
                         static_cast<size_t>(sqlite3_column_bytes(statement, i)));
      }
    }
    sqlite3_finalize(statement);
    if (result != SQLITE_DONE) return Error();
    return rows;
  }

  absl::Status Begin() override {
    if (absl::Status status = Run("BEGIN IMMEDIATE"); !status.ok()) return status;
    // What we know of the file is of the time when it was opened.
    const absl::StatusOr<std::vector<std::vector<std::string>>> version = Ask("PRAGMA data_version");
    if (!version.ok()) return version.status();
    const std::string& now = version->front().front();
    if (!version_.empty() && version_ != now) {
      return absl::AbortedError(
          absl::StrCat(file_, ": somebody else wrote into it meanwhile; start again, what is in it stays"));
    }
    version_ = now;
    return absl::OkStatus();
  }

  absl::Status Insert(Table table, absl::Span<const Value> row) override {
    sqlite3_stmt*& insert = inserts_[static_cast<size_t>(table)];
    if (insert == nullptr) {
      const std::vector<const char*> marks(SpecOf(table).columns.size(), "?");
      const std::string sql =
          absl::StrCat("INSERT INTO ", SpecOf(table).name, " VALUES (", absl::StrJoin(marks, ","), ")");
      if (sqlite3_prepare_v3(database_, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &insert, nullptr) != SQLITE_OK) {
        return Error();
      }
    }
    int at = 0;
    for (const Value& value : row) {
      ++at;
      if (const auto* number = std::get_if<int64_t>(&value)) {
        sqlite3_bind_int64(insert, at, *number);
      } else if (const auto* real = std::get_if<double>(&value)) {
        sqlite3_bind_double(insert, at, *real);  // NaN becomes NULL
      } else if (const auto* text = std::get_if<absl::string_view>(&value)) {
        sqlite3_bind_text(insert, at, text->empty() ? "" : text->data(), static_cast<int>(text->size()), SQLITE_STATIC);
      } else {
        sqlite3_bind_null(insert, at);
      }
    }
    const int result = sqlite3_step(insert);
    sqlite3_reset(insert);
    return result == SQLITE_DONE ? absl::OkStatus() : Error();
  }

  absl::Status Commit() override { return Run("COMMIT"); }

 private:
  absl::Status Run(const std::string& sql) {
    return sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK ? absl::OkStatus() : Error();
  }

  absl::Status Error() const {
    return absl::InternalError(
        absl::StrCat(file_, ": ", database_ == nullptr ? "no memory" : sqlite3_errmsg(database_)));
  }

  const std::string file_;
  std::string version_;
  sqlite3* database_ = nullptr;
  std::array<sqlite3_stmt*, kTables> inserts_ = {};
};

// Whether the file is one of ours, by its first bytes: SQLite itself does not get to see another's.
bool IsOurs(const std::string& file) {
  constexpr size_t kHeader = 100, kPlace = 68;
  char header[kHeader] = {};
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(header, kHeader) || std::memcmp(header, "SQLite format 3", 16) != 0) return false;
  uint32_t id = 0;
  for (size_t i = 0; i < 4; ++i) id = id << 8 | static_cast<unsigned char>(header[kPlace + i]);
  return id == kApplicationId;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> OpenSqlite(const std::string& file) {
  struct stat status;
  const bool exists = stat(file.c_str(), &status) == 0;
  if (exists && !S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": not a file that a database could be in"));
  }
  const bool empty = !exists || status.st_size == 0;
  if (!empty && !IsOurs(file)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": not a database that leakprof made; it stays as it is, name another file"));
  }
  auto database = std::make_unique<Sqlite>(file);
  if (absl::Status opened = database->Open(); !opened.ok()) return opened;
  if (empty) {
    if (absl::Status made = database->Create(); !made.ok()) return made;
  }
  return database;
}

}  // namespace leakshim
