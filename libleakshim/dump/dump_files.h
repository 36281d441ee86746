// Where dumps go and what they are called: <prefix>.<pid>.<seq>.<kind><n>.heap, written under a temporary name in the
// same directory and given the final one in a way that never replaces a file.
//
// The prefix is made absolute once, at start, so that chdir, chroot and setuid later do no harm that can be avoided; no
// descriptor is held. Where it cannot be written, the first failure says so and, but for root, dumps go to leakshim-UID
// under TMPDIR.
//
// Context: the holder of the dump lock. System calls only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dump/triggers.h"

namespace leakshim {

class DumpFiles {
 public:
  // `prefix` may hold %p, %e, %h (pid, executable, host) and %%; `temporary_directory` is TMPDIR, or nullptr.
  // Context: the constructor.
  void Init(const char* prefix, uint32_t mode, const char* temporary_directory);

  // Opens a temporary file for the process `pid` that started at `start_s` (Unix seconds). Returns its descriptor, or
  // -errno after a line on stderr (one for each kind of failure until 16 dumps have succeeded in a row).
  int Begin(int pid, uint64_t start_s);

  // Gives the file, complete and closed, its final name. Returns 0, or -errno after a line on stderr.
  int Commit(DumpReason reason);

  // Removes the temporary file; `error` is why, for the line on stderr.
  void Abandon(int error);

  const char* path() const { return path_; }  // of the last Commit()
  const char* base() const;                   // the last part of the prefix, patterns and all
  uint64_t next_seq() const { return seq_; }
  uint64_t written() const { return written_; }
  uint64_t failed() const { return failed_; }

 private:
  static constexpr size_t kPathBytes = 4096;

  void Expand(int pid);
  int OpenTemporary();
  bool UseFallback(int error);
  void Report(int error, bool falls_back);

  char template_[kPathBytes] = {};
  char executable_[256] = {};
  char host_[65] = {};
  char temporary_directory_[256] = {};
  uint32_t mode_ = 0600;
  bool fallen_back_ = false;

  char prefix_[kPathBytes] = {};     // expanded, for the process in hand
  char temporary_[kPathBytes] = {};  // temporary name
  char path_[kPathBytes] = {};
  int pid_ = 0;
  uint64_t start_s_ = 0;
  bool with_start_time_ = false;  // the plain name was taken by another process of the same pid
  uint64_t seq_ = 0;
  uint64_t by_kind_[8] = {};
  uint64_t written_ = 0;
  uint64_t failed_ = 0;
  int last_reported_ = 0;
  int in_a_row_ = 0;  // dumps that succeeded since the last failure
};

}  // namespace leakshim
