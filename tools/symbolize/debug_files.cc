#include "symbolize/debug_files.h"

#include <elfutils/debuginfod.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leakshim {
namespace {

constexpr char kDebugRoot[] = "/usr/lib/debug";

struct EndClient {
  void operator()(debuginfod_client* client) const { debuginfod_end(client); }
};

// What the client's call-back knows of one download.
struct Download {
  const DebugFiles::Options* options;
  const std::string* what;
  std::chrono::steady_clock::time_point deadline;
  bool late = false;

  static int Go(debuginfod_client* client, long done, long total) {
    auto* download = static_cast<Download*>(debuginfod_get_user_data(client));
    if (download->options->progress) download->options->progress(*download->what, done, total);
    download->late = std::chrono::steady_clock::now() >= download->deadline;
    return download->late ? 1 : 0;
  }
};

}  // namespace

std::string DebugFiles::PathOfBuildId(const std::string& build_id) {
  if (build_id.size() < 3) return "";
  return absl::StrCat(kDebugRoot, "/.build-id/", build_id.substr(0, 2), "/", build_id.substr(2));
}

std::vector<std::string> DebugFiles::Candidates(const std::string& path, const std::string& build_id,
                                                const std::string& link) const {
  std::vector<std::string> files;
  std::vector<std::string> roots = options_.sysroots;
  roots.emplace_back();
  for (const std::string& root : roots) {
    if (const std::string name = PathOfBuildId(build_id); !name.empty())
      files.push_back(absl::StrCat(root, name, ".debug"));
  }
  if (link.empty()) return files;
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  files.push_back(absl::StrCat(folder, link));
  files.push_back(absl::StrCat(folder, ".debug/", link));
  for (const std::string& root : roots) files.push_back(absl::StrCat(root, kDebugRoot, folder, link));
  return files;
}

std::vector<std::string> DebugFiles::SharedCandidates(const std::string& path, const std::string& build_id,
                                                      const std::string& link) const {
  std::vector<std::string> files = Candidates(path, build_id, "");
  if (absl::StartsWith(link, "/")) {
    for (const std::string& root : options_.sysroots) files.push_back(absl::StrCat(root, link));
    files.push_back(link);
  } else if (!link.empty()) {
    files.push_back(absl::StrCat(path.substr(0, path.rfind('/') + 1), link));
  }
  return files;
}

std::vector<std::string> DebugFiles::StandIns(const std::string& build_id) const {
  std::vector<std::string> files;
  const std::string name = PathOfBuildId(build_id);
  if (name.empty()) return files;
  for (const std::string& root : options_.sysroots) {
    files.push_back(absl::StrCat(root, name));
    files.push_back(absl::StrCat(root, name, ".debug"));
  }
  files.push_back(name);
  files.push_back(absl::StrCat(name, ".debug"));
  return files;
}

std::string DebugFiles::Fetch(const std::string& build_id, const std::string& what) {
  const char* servers = getenv(DEBUGINFOD_URLS_ENV_VAR);
  if (given_up_ || !options_.ask_servers || build_id.empty() || servers == nullptr || *servers == '\0') return "";
  const std::unique_ptr<debuginfod_client, EndClient> client(debuginfod_begin());
  if (client == nullptr) return "";
  Download download{.options = &options_, .what = &what, .deadline = std::chrono::steady_clock::now() + options_.limit};
  debuginfod_set_user_data(client.get(), &download);
  debuginfod_set_progressfn(client.get(), Download::Go);
  char* path = nullptr;
  const int file =
      debuginfod_find_debuginfo(client.get(), reinterpret_cast<const unsigned char*>(build_id.c_str()), 0, &path);
  if (options_.progress) options_.progress(what, -1, 0);
  if (file >= 0) close(file);
  const std::string found = file >= 0 && path != nullptr ? path : "";
  free(path);
  // A download that we ended looks like one that found nothing.
  if (file >= 0 || (file == -ENOENT && !download.late)) return found;
  given_up_ = true;
  warnings_.push_back(download.late
                          ? absl::StrCat("debuginfod: nothing for ", what, " within ", options_.limit.count(),
                                         " s; no server is asked again (--no-debuginfod: none at all)")
                          : absl::StrCat("debuginfod: ", what, ": ", strerror(-file), "; no server is asked again"));
  return "";
}

}  // namespace leakshim
