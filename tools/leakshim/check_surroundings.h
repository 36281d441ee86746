// What surrounds a process and decides over its dumps: options, dump directory, memory limit, sandbox.
#pragma once

#include <string>

#include "leakshim/conf.h"
#include "leakshim/finding.h"
#include "leakshim/process_files.h"

namespace leakshim {

// The options that the library takes from this environment: LEAKSHIM_CONF, else MALLOC_CONF where that says prof:true.
struct EffectiveConf {
  Conf conf;
  const char* variable = nullptr;  // where they come from; null: neither is set
  bool is_damaged = false;

  std::string Get(const char* key, const char* otherwise) const { return conf.Get(key).value_or(otherwise); }
};
EffectiveConf ReadConf(const ProcessFiles& process);

// `executable` and `command`: what prof_only is compared with.
void CheckOptions(const ProcessFiles& process, const std::string& executable, const std::string& command,
                  Findings* findings);

// `prefix`: of dumps; relative to the process's directory.
void CheckDumpDirectory(const ProcessFiles& process, const std::string& prefix, Findings* findings);

void CheckMemoryLimit(const ProcessFiles& process, Findings* findings);
void CheckMallocTunables(const ProcessFiles& process, Findings* findings);
void CheckSandbox(const ProcessFiles& process, Findings* findings);

}  // namespace leakshim
