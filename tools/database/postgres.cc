#include <libpq-fe.h>

#include <cmath>
#include <future>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "database/database.h"

namespace leakshim {
namespace {

// Of whoever loads into a database: "leakshim" in ASCII.
constexpr const char* kLock = "SELECT pg_advisory_lock(7810204083456241005)";

struct Cleared {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Cleared>;

// COPY's text form: a line a row, a tab between columns, \N for NULL.
void AppendText(absl::string_view text, std::string* out) {
  for (char c : text) {
    switch (c) {
      case '\0':
        break;  // PostgreSQL's text has none
      case '\\':
        *out += "\\\\";
        break;
      case '\n':
        *out += "\\n";
        break;
      case '\r':
        *out += "\\r";
        break;
      case '\t':
        *out += "\\t";
        break;
      default:
        *out += c;
    }
  }
}

class Postgres : public Database {
 public:
  explicit Postgres(const std::string& url) : url_(url), shown_(ShownTarget(url)) {}
  ~Postgres() override {
    if (written_.valid()) written_.wait();
    PQfinish(connection_);  // the server takes back what was not committed
  }

  absl::Status Open() {
    const char* keys[] = {"dbname", "client_encoding", "fallback_application_name", nullptr};
    const char* values[] = {url_.c_str(), "UTF8", "leakprof", nullptr};
    connection_ = PQconnectdbParams(keys, values, 1);
    if (PQstatus(connection_) != CONNECTION_OK) return Error(PQerrorMessage(connection_));
    PQsetNoticeProcessor(
        connection_, [](void*, const char*) {}, nullptr);
    if (absl::Status status = Ask(kLock).status(); !status.ok()) return status;
    const auto ours = Ask("SELECT to_regnamespace('leakshim') IS NOT NULL, to_regclass('leakshim.meta') IS NOT NULL");
    if (!ours.ok()) return ours.status();
    if (ours->front()[0] == "f") {
      absl::Status made = Run(absl::StrCat("BEGIN; CREATE SCHEMA leakshim; SET LOCAL search_path TO leakshim; ",
                                           CreateTables(false), "COMMIT"));
      if (!made.ok()) return made;
    } else if (ours->front()[1] == "f") {
      return absl::InvalidArgumentError(
          absl::StrCat(shown_, ": has a schema leakshim that leakprof did not make; it stays as it is"));
    }
    return Run("SET search_path TO leakshim");
  }

  absl::StatusOr<std::vector<std::vector<std::string>>> Ask(const std::string& sql) override {
    if (absl::Status status = Written(); !status.ok()) return status;
    const Result result(PQexec(connection_, sql.c_str()));
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) return Error(PQerrorMessage(connection_));
    std::vector<std::vector<std::string>> rows(static_cast<size_t>(PQntuples(result.get())));
    for (size_t i = 0; i < rows.size(); ++i) {
      for (int column = 0; column < PQnfields(result.get()); ++column) {
        rows[i].emplace_back(PQgetvalue(result.get(), static_cast<int>(i), column));
      }
    }
    return rows;
  }

  // The lock is ours: nobody else writes, and what is kept back until Commit() needs no transaction before that.
  absl::Status Begin() override { return absl::OkStatus(); }

  absl::Status Insert(Table table, absl::Span<const Value> row) override {
    std::string& lines = lines_[static_cast<size_t>(table)];
    bool first = true;
    for (const Value& value : row) {
      if (!first) lines += '\t';
      first = false;
      if (const auto* number = std::get_if<int64_t>(&value)) {
        absl::StrAppend(&lines, *number);
      } else if (const auto* real = std::get_if<double>(&value); real != nullptr && std::isfinite(*real)) {
        // Whole numbers are quick to write, and most are.
        const auto whole = std::abs(*real) < 1e15 ? static_cast<int64_t>(*real) : 0;
        if (static_cast<double>(whole) == *real) {
          absl::StrAppend(&lines, whole);
        } else {
          absl::StrAppendFormat(&lines, "%.17g", *real);
        }
      } else if (const auto* text = std::get_if<absl::string_view>(&value)) {
        AppendText(*text, &lines);
      } else {
        lines += "\\N";
      }
    }
    lines += '\n';
    return absl::OkStatus();
  }

  // The server works while the next dumps are read.
  absl::Status Commit() override {
    if (absl::Status status = Written(); !status.ok()) return status;
    written_ = std::async(std::launch::async, [this, lines = std::exchange(lines_, {})] { return Write(lines); });
    return absl::OkStatus();
  }

  absl::Status Finish() override { return Written(); }

 private:
  using Lines = std::array<std::string, kTables>;

  // Waits for the transaction that is under way. Until then the connection is its own.
  absl::Status Written() { return written_.valid() ? written_.get() : absl::OkStatus(); }

  absl::Status Write(const Lines& lines) {
    absl::Status status = Run("BEGIN");
    for (size_t i = 0; status.ok() && i < kTables; ++i) {
      if (!lines[i].empty()) status = Copy(static_cast<Table>(i), lines[i]);
    }
    return status.ok() ? Run("COMMIT") : status;
  }

  absl::Status Copy(Table table, const std::string& lines) {
    const Result begun(PQexec(connection_, absl::StrCat("COPY ", SpecOf(table).name, " FROM STDIN").c_str()));
    if (PQresultStatus(begun.get()) != PGRES_COPY_IN) return Error(PQerrorMessage(connection_));
    constexpr size_t kAtOnce = 1 << 20;
    for (size_t at = 0; at < lines.size(); at += kAtOnce) {
      const auto size = static_cast<int>(std::min(kAtOnce, lines.size() - at));
      if (PQputCopyData(connection_, lines.data() + at, size) != 1) return Error(PQerrorMessage(connection_));
    }
    if (PQputCopyEnd(connection_, nullptr) != 1) return Error(PQerrorMessage(connection_));
    absl::Status status;
    while (const Result result{PQgetResult(connection_)}) {
      if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) status = Error(PQerrorMessage(connection_));
    }
    return status;
  }

  absl::Status Run(const std::string& sql) {
    const Result result(PQexec(connection_, sql.c_str()));
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return absl::OkStatus();
    return Error(PQerrorMessage(connection_));
  }

  // One line of it. libpq does not quote passwords, but what it says of a URL that it takes to be something else may.
  absl::Status Error(absl::string_view message) const {
    absl::ConsumeSuffix(&message, "\n");
    std::string line = absl::StrReplaceAll(message, {{"\n", "; "}, {"\t", " "}});
    if (const char* password = connection_ == nullptr ? nullptr : PQpass(connection_);
        password != nullptr && *password != '\0') {
      line = absl::StrReplaceAll(line, {{password, "***"}});
    }
    return absl::UnavailableError(absl::StrCat(shown_, ": ", line));
  }

  const std::string url_, shown_;
  PGconn* connection_ = nullptr;
  Lines lines_;
  std::future<absl::Status> written_;
};

}  // namespace

bool IsPostgres(absl::string_view target) {
  return absl::StartsWith(target, "postgresql://") || absl::StartsWith(target, "postgres://");
}

absl::StatusOr<std::unique_ptr<Database>> OpenPostgres(const std::string& url) {
  // A password with a bare / or @ makes libpq take pieces of it for the host, and name them.
  const std::string shown = ShownTarget(url);
  const size_t begin = url.find("://") + 3, end = std::min(url.find_first_of("/?", begin), url.size());
  const std::string authority = url.substr(begin, end - begin);
  const size_t at = authority.find('@');
  if (at != authority.rfind('@') || (at == std::string::npos && authority.find(':') != std::string::npos &&
                                     url.find('@', end) != std::string::npos)) {
    return absl::InvalidArgumentError(
        absl::StrCat(shown, ": in a user or password @ is written %40, / is %2F and ? is %3F"));
  }
  char* why = nullptr;
  PQconninfoOption* options = PQconninfoParse(url.c_str(), &why);
  PQfreemem(why);  // may quote any part
  if (options == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(shown, ": not postgresql://[user[:password]@][host][:port][/database][?parameter=value]"));
  }
  PQconninfoFree(options);
  auto database = std::make_unique<Postgres>(url);
  if (absl::Status opened = database->Open(); !opened.ok()) return opened;
  return database;
}

}  // namespace leakshim
