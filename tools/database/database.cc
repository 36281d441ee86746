#include "database/database.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace leakshim {

std::string ShownTarget(absl::string_view target) {
  const size_t scheme = target.find("://");
  if (scheme == absl::string_view::npos) return std::string(target);
  // Up to the last @, wherever the writer thought that the host begins.
  const absl::string_view rest = target.substr(scheme + 3);
  const size_t query = rest.rfind('?');
  absl::string_view place = rest.substr(0, query);
  size_t at = place.rfind('@');
  if (at == absl::string_view::npos && query != absl::string_view::npos && absl::StrContains(place, ':') &&
      absl::StrContains(rest.substr(query), '@')) {
    place = rest;
    at = rest.rfind('@');
  }
  std::string shown(target.substr(0, scheme + 3));
  if (at != absl::string_view::npos) {
    const absl::string_view user = place.substr(0, at);
    const size_t colon = user.find(':');
    absl::StrAppend(&shown, user.substr(0, colon), colon == absl::string_view::npos ? "" : ":***", "@",
                    place.substr(at + 1));
  } else {
    absl::StrAppend(&shown, place);
  }
  return shown;  // parameters may hold passwords too
}

absl::StatusOr<std::unique_ptr<Database>> OpenDatabase(const std::string& target) {
  if (!IsPostgres(target) && absl::StrContains(target, "://")) {
    return absl::InvalidArgumentError(
        absl::StrCat(target.substr(0, target.find("://")), "://: neither a file for SQLite nor postgresql://"));
  }
  absl::StatusOr<std::unique_ptr<Database>> database = IsPostgres(target) ? OpenPostgres(target) : OpenSqlite(target);
  if (!database.ok()) return database.status();
  const auto version = (*database)->Ask("SELECT value FROM meta WHERE key = 'schema_version'");
  if (!version.ok()) return version.status();
  if (version->size() != 1 || version->front().front() != absl::StrCat(kSchemaVersion)) {
    return absl::FailedPreconditionError(absl::StrCat(ShownTarget(target), ": its tables are of version ",
                                                      version->empty() ? "unknown" : version->front().front(),
                                                      ", this leakprof writes ", kSchemaVersion));
  }
  return database;
}

}  // namespace leakshim
