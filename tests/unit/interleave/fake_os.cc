#include "unit/interleave/fake_os.h"

#include <cstdlib>
#include <cstring>

#include "fakes/interleave.h"
#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/unwinder.h"

namespace leakshim {
namespace {

constexpr size_t kMemoryBytes = 4 << 20;
alignas(4096) unsigned char memory[kMemoryBytes];
size_t used = 0;
uint64_t own_bytes_left = 0;
uint64_t own_failures = 0;
bool reset_thread_is_gone = false;

void* Map(size_t bytes) {
  bytes = (bytes + 4095) & ~size_t{4095};
  if (bytes > kMemoryBytes - used) abort();
  void* block = memory + used;
  used += bytes;
  return block;
}

}  // namespace

void fake_os::Reset(uint64_t own_bytes) {
  memset(memory, 0, used);
  used = 0;
  own_bytes_left = own_bytes;
  reset_thread_is_gone = false;
}

void fake_os::ThreadOfResetIsGone(bool gone) {
  reset_thread_is_gone = gone;
}

void* os::MapOwn(size_t bytes) {
  interleave::Point();  // a system call: others go on meanwhile
  if (bytes > own_bytes_left) {
    own_failures++;
    return nullptr;
  }
  own_bytes_left -= bytes;
  return Map(bytes);
}
void* os::MapSpare(size_t bytes) {
  return bytes <= own_bytes_left / 2 ? os::MapOwn(bytes) : nullptr;
}
uint64_t os::OwnMemoryFailures() {
  return own_failures;
}
// What was unmapped is gone for readers too: whoever reads it finds rubbish.
void os::UnmapOwn(void* address, size_t bytes) {
  own_bytes_left += bytes;
  memset(address, 0xdb, bytes);
}
void* os::MapForDump(size_t bytes) {
  return Map(bytes);
}
void os::UnmapForDump(void* address, size_t bytes) {
  memset(address, 0xdb, bytes);
}
int os::ThreadId() {
  int thread = interleave::ThreadNumber();
  return thread < 0 ? fake_os::kThreadOfReset : thread + 1;
}
bool os::ThreadIsGone(int tid) {
  return tid == fake_os::kThreadOfReset && reset_thread_is_gone;
}
void os::ThreadName(char (&name)[16]) {
  memset(name, 0, sizeof(name));
}
void os::Random(void* buffer, size_t bytes) {
  memset(buffer, 1, bytes);
}
uint64_t os::MonotonicCoarseNs() {
  return 0;
}
constinit std::atomic<std::atomic<uint32_t>*> os::wiped_word{nullptr};
uint32_t os::ProcessGenerationSlow() {
  return 1;
}

}  // namespace leakshim
