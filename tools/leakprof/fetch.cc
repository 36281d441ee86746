#include "leakprof/fetch.h"

#include <curl/curl.h>
#include <re2/re2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "leakprof/talk.h"
#include "profile/file_text.h"
#include "symbolize/demangle.h"

namespace leakshim {
namespace {

constexpr long kConnectSeconds = 10, kStalledSeconds = 60;

struct CloseCurl {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};

size_t Append(char* data, size_t size, size_t count, void* to) {
  static_cast<std::string*>(to)->append(data, size * count);
  return size * count;
}

// The answer to a GET, or to a POST of `body` if there is one.
absl::StatusOr<std::string> Get(const std::string& url, const std::optional<std::string>& body = std::nullopt) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, CloseCurl> handle(ready == CURLE_OK ? curl_easy_init() : nullptr);
  if (handle == nullptr) return absl::InternalError("libcurl does not start");
  std::string answer;
  char reason[CURL_ERROR_SIZE] = {};
  curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(handle.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle.get(), CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(handle.get(), CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle.get(), CURLOPT_POSTREDIR, long{CURL_REDIR_POST_ALL});
  curl_easy_setopt(handle.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle.get(), CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(handle.get(), CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle.get(), CURLOPT_LOW_SPEED_TIME, kStalledSeconds);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &answer);
  if (body.has_value()) {
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, body->c_str());
  }
  const CURLcode code = curl_easy_perform(handle.get());
  if (code != CURLE_OK) {
    return absl::UnavailableError(absl::StrCat(url, ": ", *reason == '\0' ? curl_easy_strerror(code) : reason));
  }
  return answer;
}

struct Url {
  std::string host, base, page;
};

Url Split(const std::string& name) {
  static const RE2 kUrl(R"((https?://)?([^/]+)(.*?)(/|/pprof/[a-z]+(?:\?.*)?)?)");
  std::string scheme, server, folder, page;
  RE2::FullMatch(name, kUrl, &scheme, &server, &folder, &page);
  return {.host = server.substr(0, server.find(':')),
          .base = absl::StrCat(scheme.empty() ? "http://" : scheme, server, folder),
          .page = page.empty() || page == "/" ? "/pprof/heap" : page};
}

std::string Encoded(const std::string& text) {
  std::string encoded;
  for (char c : text) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || std::strchr("-_.!~*'()", c) != nullptr;
    absl::StrAppend(&encoded, plain ? std::string(1, c) : absl::StrFormat("%%%02x", static_cast<unsigned char>(c)));
  }
  return encoded;
}

// Where the profile is kept. Empty: nowhere.
std::string Keep(const Url& url, const std::string& program, const std::string& text) {
  const char* folder = getenv("JEPROF_TMPDIR");
  const char* home = getenv("HOME");
  const std::string directory = folder != nullptr && *folder != '\0' ? folder
                                : home != nullptr                    ? absl::StrCat(home, "/jeprof")
                                                                     : "";
  if (directory.empty()) return "";
  mkdir(directory.c_str(), 0700);
  std::string page = url.page.substr(0, url.page.find('?'));
  std::replace(page.begin(), page.end(), '/', '.');
  const std::string path =
      absl::StrCat(directory, "/", program.substr(program.rfind('/') + 1), ".", time(nullptr), ".", url.host, page);
  if (absl::Status status = WriteFileText(path, text); !status.ok()) {
    Say(status.message());
    return "";
  }
  return path;
}

// The server's names, into the profile; false: it has none.
bool TakeNames(const Url& url, const Flags& flags, Profile* profile) {
  const std::string page = absl::StrCat(url.base, "/pprof/symbol");
  const absl::StatusOr<std::string> count = Get(page);
  int64_t symbols = 0;
  if (!count.ok() || !RE2::PartialMatch(*count, R"(^num_symbols:\s+(\d+))", &symbols) || symbols == 0) return false;
  std::vector<std::string> addresses;
  for (const Stack& stack : profile->stacks) {
    bool leaf = true;
    for (uint64_t address : profile->StackFrames(stack)) {
      addresses.push_back(absl::StrFormat("0x%016x", leaf ? address : address - 1));
      leaf = false;
    }
  }
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  std::vector<std::string> filters;
  if (!flags.retain.empty()) filters.push_back(absl::StrCat("retain=", Encoded(flags.retain)));
  if (!flags.exclude.empty()) filters.push_back(absl::StrCat("exclude=", Encoded(flags.exclude)));
  const absl::StatusOr<std::string> answer =
      Get(absl::StrCat(page, filters.empty() ? "" : "?", absl::StrJoin(filters, "&")), absl::StrJoin(addresses, "+"));
  if (!answer.ok()) return false;
  static const RE2 kName(R"(0x([0-9a-f]+)\s+(.+))");
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(*answer, '\n'))) {
    std::string digits, name;
    uint64_t address = 0;
    if (absl::StartsWith(line, "---")) break;
    if (!RE2::FullMatch(line.substr(0, line.find('\r')), kName, &digits, &name) ||
        !absl::SimpleHexAtoi(digits, &address)) {
      continue;
    }
    profile->unescaped.push_back(Demangle(name));
    profile->symbols[address] = profile->unescaped.back();
  }
  profile->symbolized = !profile->symbols.empty();
  return profile->symbolized;
}

}  // namespace

bool IsUrl(const std::string& name) {
  if (absl::StartsWith(name, "http://") || absl::StartsWith(name, "https://")) return true;
  return absl::StrContains(name, ":") && absl::StrContains(name, "/pprof/") && access(name.c_str(), F_OK) != 0;
}

absl::StatusOr<std::unique_ptr<Profile>> FetchProfile(const std::string& name, const Flags& flags,
                                                      const ReadOptions& options) {
  const Url url = Split(name);
  std::string program = "(unknown)";
  if (const absl::StatusOr<std::string> line = Get(absl::StrCat(url.base, "/pprof/cmdline")); line.ok()) {
    const absl::string_view words = *line;
    const std::string first(words.substr(0, words.find_first_of(absl::string_view("\0\r\n", 3))));
    if (!first.empty()) program = first;
  }
  absl::StatusOr<std::string> text = Get(absl::StrCat(url.base, url.page));
  if (!text.ok()) return text.status();
  const std::string kept = Keep(url, program, *text);
  if (!kept.empty()) Say(absl::StrCat("the profile is in ", kept));
  absl::StatusOr<std::unique_ptr<Profile>> profile =
      ParseProfile(kept.empty() ? name : kept, *std::move(text), options);
  if (!profile.ok()) return profile;
  if (!(*profile)->symbolized && !TakeNames(url, flags, profile->get())) {
    Say(absl::StrCat(url.base, "/pprof/symbol names nothing; looking for the binaries here"));
  }
  if ((*profile)->program.empty()) {
    (*profile)->unescaped.push_back(program);
    (*profile)->program = (*profile)->unescaped.back();
  }
  return profile;
}

}  // namespace leakshim
