// Profiles of running processes that serve them by HTTP, as gperftools and what speaks like it do: /pprof/heap, with
// /pprof/cmdline and /pprof/symbol beside it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "leakprof/flags.h"
#include "profile/read_profile.h"

namespace leakshim {

// http://..., https://..., and host:port/pprof/... where there is no such file.
bool IsUrl(const std::string& name);

// Fetches the profile, keeps it in JEPROF_TMPDIR or ~/jeprof and says where, and asks the server for names; where it
// has none, they are looked for as for any other profile. Errors: Unavailable if the profile cannot be had; those of
// ParseProfile().
absl::StatusOr<std::unique_ptr<Profile>> FetchProfile(const std::string& url, const Flags& flags,
                                                      const ReadOptions& options);

}  // namespace leakshim
