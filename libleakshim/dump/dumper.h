// Makes dumps: one at a time, beside the application where that can be had, on the calling thread otherwise.
//
// Context: hooks (Due), exit and the C API (Now). Never waits in a hook.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dump/deep_facts.h"
#include "dump/retention.h"
#include "dump/triggers.h"

namespace leakshim {

class Dumper {
 public:
  struct Config {
    const char* prefix = "";  // empty: no dump ever
    uint32_t mode = 0600;
    const char* label = "";
    const char* temporary_directory = nullptr;
    bool with_command_line = true;
    bool final_dump = true;
    int signal = 0;  // that asks for a dump; 0: none
    DumpTriggers::Config triggers;
    RetentionBounds retention;
    MallocInspector malloc;
  };
  // Context: the constructor. The strings must stay.
  static void Init(const Config& config);

  // After each sample.
  static void AfterSample(uint64_t now_ns, uint64_t allocated_bytes);

  // After a sample that found memory short: thins the records out, in a task or here.
  static void MemoryShort(bool index_full);

  // Where nothing is sampled because prof_active is false: whether somebody asks.
  static void WhileDormant();

  // A dump on the calling thread. Returns 0 and its path, or -errno. Waits at most `timeout_ns` for one that is
  // running.
  static int Now(DumpReason reason, uint64_t timeout_ns, char* path, size_t path_bytes);

  // The same into the file `path`, which must not exist yet.
  static int NowTo(const char* path, uint64_t timeout_ns);

  // Samples, or lets things pass. Returns 1 or 0, as it was, or -ENODEV. Context: anywhere.
  static int SetActive(bool active);

  // At exit: the final dump, unless it is off or there is nothing to tell.
  static void AtExit();

  struct Counters {
    uint64_t written, failed, cpu_ns;
  };
  static Counters Read();
};

}  // namespace leakshim
