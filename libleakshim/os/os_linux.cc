#include <elf.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>

#include <cerrno>
#include <cstring>

#include "os/atomic.h"
#include "os/elf_lookup.h"
#include "os/os.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

namespace leakshim::os {
namespace {

constexpr size_t kPageBytes = 4096;

// Plain atomics of the library itself, not Atomic<>: the system call layer is below what interleaving tests schedule.
constinit std::atomic<uint64_t> own_bytes{0};
constinit std::atomic<uint64_t> own_failures{0};
constinit std::atomic<uint64_t> own_cap_bytes{64u << 20};

using ClockFunction = int (*)(clockid_t, timespec*);
constinit ClockFunction vdso_clock = nullptr;

template <typename P>
long Word(P* pointer) {
  return reinterpret_cast<long>(pointer);
}

size_t WholePages(size_t bytes) {
  return (bytes + kPageBytes - 1) & ~(kPageBytes - 1);
}

// Zeroed pages, named where the kernel can, without huge pages; nullptr where they cannot be had.
void* MapAnonymous(size_t bytes) {
  auto length = static_cast<long>(bytes);
  long address = Syscall(SYS_mmap, 0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address < 0 && address > -4096) return nullptr;
  Syscall(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, address, length, Word("leakshim"));
  Syscall(SYS_madvise, address, length, MADV_NOHUGEPAGE);
  return reinterpret_cast<void*>(address);
}

// Own memory, as long as there is not more than `cap_bytes` of it then.
void* MapWithin(uint64_t cap_bytes, size_t bytes) {
  bytes = WholePages(bytes);
  // relaxed: as in MapOwn(). Looked at first, so that what is refused takes no room from others even for a moment.
  bool has_room = own_bytes.load(std::memory_order_relaxed) + bytes <= cap_bytes;
  if (!has_room) return nullptr;
  has_room = own_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes <= cap_bytes;
  void* memory = has_room ? MapAnonymous(bytes) : nullptr;
  if (memory == nullptr) own_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  // acquire: pairs with the release in UnmapOwn(); the kernel may give us what another thread has just given back.
  (void)own_bytes.load(std::memory_order_acquire);
  return memory;
}

uint64_t ReadClock(clockid_t clock) {
  timespec now{};
  if (vdso_clock == nullptr || vdso_clock(clock, &now) != 0) Syscall(SYS_clock_gettime, clock, Word(&now));
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

void* MapOwn(size_t bytes) {
  // relaxed, here and below: a budget, no data is published through it.
  void* memory = MapWithin(own_cap_bytes.load(std::memory_order_relaxed), bytes);
  if (memory == nullptr) own_failures.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

void* MapSpare(size_t bytes) {
  return MapWithin(own_cap_bytes.load(std::memory_order_relaxed) / 2, bytes);
}

void UnmapOwn(void* address, size_t bytes) {
  // release: pairs with the acquire in MapOwn(): what was done with the memory comes before what its next owner does.
  own_bytes.fetch_sub(WholePages(bytes), std::memory_order_release);
  UnmapForDump(address, bytes);
}

void* MapForDump(size_t bytes) {
  return MapAnonymous(WholePages(bytes));
}

void UnmapForDump(void* address, size_t bytes) {
  Syscall(SYS_munmap, Word(address), static_cast<long>(WholePages(bytes)));
}

uint64_t OwnMemoryBytes() {
  return own_bytes.load(std::memory_order_relaxed);
}
uint64_t OwnMemoryFailures() {
  return own_failures.load(std::memory_order_relaxed);
}
void SetOwnMemoryCap(uint64_t bytes) {
  own_cap_bytes.store(bytes, std::memory_order_relaxed);
}

int64_t SafeRead(void* destination, uintptr_t source, size_t bytes) {
  iovec local{destination, bytes};
  iovec remote{reinterpret_cast<void*>(source), bytes};
  int64_t copied = Syscall(SYS_process_vm_readv, ProcessId(), Word(&local), 1, Word(&remote), 1, 0);
  return copied == -EFAULT ? 0 : copied;
}

bool PageIsReadable(uintptr_t address) {
  constexpr long kNoSuchHow = ~0L;
  constexpr uintptr_t kPageBytes = 4096;
  return Syscall(SYS_rt_sigprocmask, kNoSuchHow, static_cast<long>(address & ~(kPageBytes - 1)), 0, 8) != -EFAULT;
}

int Open(const char* path, int flags, uint32_t mode) {
  return static_cast<int>(Syscall(SYS_openat, AT_FDCWD, Word(path), flags | O_CLOEXEC, mode));
}

int Close(int fd) {
  return static_cast<int>(Syscall(SYS_close, fd));
}

int64_t Read(int fd, void* buffer, size_t bytes) {
  int64_t n;
  do n = Syscall(SYS_read, fd, Word(buffer), static_cast<long>(bytes));
  while (n == -EINTR);
  return n;
}

int Seek(int fd, uint64_t offset) {
  long result = Syscall(SYS_lseek, fd, static_cast<long>(offset), SEEK_SET);
  return result < 0 ? static_cast<int>(result) : 0;
}

int64_t ReadAt(int fd, void* buffer, size_t bytes, uint64_t offset) {
  int64_t n;
  do n = Syscall(SYS_pread64, fd, Word(buffer), static_cast<long>(bytes), static_cast<long>(offset));
  while (n == -EINTR);
  return n;
}

int64_t Write(int fd, const void* buffer, size_t bytes) {
  int64_t n;
  do n = Syscall(SYS_write, fd, Word(buffer), static_cast<long>(bytes));
  while (n == -EINTR);
  return n;
}

int WriteAll(int fd, const void* buffer, size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(buffer);
  while (bytes > 0) {
    int64_t n = Write(fd, at, bytes);
    if (n < 0) return static_cast<int>(n);
    if (n == 0) return -EIO;
    at += n;
    bytes -= static_cast<size_t>(n);
  }
  return 0;
}

int64_t ReadFile(const char* path, void* buffer, size_t bytes) {
  int fd = Open(path, O_RDONLY);
  if (fd < 0) return fd;
  size_t done = 0;
  int64_t n = 0;
  while (done < bytes && (n = Read(fd, static_cast<char*>(buffer) + done, bytes - done)) > 0) {
    done += static_cast<size_t>(n);
  }
  Close(fd);
  return n < 0 ? n : static_cast<int64_t>(done);
}

int MakeDirectory(const char* path, uint32_t mode) {
  return static_cast<int>(Syscall(SYS_mkdirat, AT_FDCWD, Word(path), mode));
}

int Unlink(const char* path) {
  return static_cast<int>(Syscall(SYS_unlinkat, AT_FDCWD, Word(path), 0));
}

int Stat(const char* path, struct stat* status) {
  return static_cast<int>(Syscall(SYS_newfstatat, AT_FDCWD, Word(path), Word(status), 0));
}

int LinkStat(const char* path, struct stat* status) {
  return static_cast<int>(Syscall(SYS_newfstatat, AT_FDCWD, Word(path), Word(status), AT_SYMLINK_NOFOLLOW));
}

int DescriptorStat(int fd, struct stat* status) {
  return static_cast<int>(Syscall(SYS_fstat, fd, Word(status)));
}

int SetMode(int fd, uint32_t mode) {
  return static_cast<int>(Syscall(SYS_fchmod, fd, mode));
}

int64_t ReadLink(const char* path, char* buffer, size_t bytes) {
  return Syscall(SYS_readlinkat, AT_FDCWD, Word(path), Word(buffer), static_cast<long>(bytes));
}

int64_t CurrentDirectory(char* buffer, size_t bytes) {
  return Syscall(SYS_getcwd, Word(buffer), static_cast<long>(bytes));
}

int64_t ReadDirectory(int fd, void* buffer, size_t bytes) {
  return Syscall(SYS_getdents64, fd, Word(buffer), static_cast<long>(bytes));
}

int RenameNoReplace(const char* from, const char* to) {
  constexpr long kRenameNoReplace = 1;
  long result = Syscall(SYS_renameat2, AT_FDCWD, Word(from), AT_FDCWD, Word(to), kRenameNoReplace);
  if (result != -ENOSYS && result != -EINVAL && result != -EPERM) return static_cast<int>(result);
  // Old kernels and some network file systems: a hard link never replaces either.
  result = Syscall(SYS_linkat, AT_FDCWD, Word(from), AT_FDCWD, Word(to), 0);
  if (result == 0) Unlink(from);
  return static_cast<int>(result);
}

int ProcessId() {
  return static_cast<int>(Syscall(SYS_getpid));
}
void ThreadName(char (&name)[16]) {
  constexpr long kGetName = 16;  // PR_GET_NAME
  if (Syscall(SYS_prctl, kGetName, Word(name)) < 0) name[0] = 0;
}

uint64_t FileSizeLimit() {
  uint64_t limits[2] = {~uint64_t{0}, ~uint64_t{0}};
  constexpr long kFileSize = 1;  // RLIMIT_FSIZE
  Syscall(SYS_prlimit64, 0, kFileSize, 0, Word(limits));
  return limits[0];
}

void HostName(char (&name)[65]) {
  utsname names{};
  name[0] = 0;
  if (Syscall(SYS_uname, Word(&names)) == 0) memcpy(name, names.nodename, sizeof(name));
}

int ThreadId() {
  return static_cast<int>(Syscall(SYS_gettid));
}
uint32_t UserId() {
  return static_cast<uint32_t>(Syscall(SYS_geteuid));
}
bool ThreadIsGone(int tid) {
  return Syscall(SYS_tgkill, ProcessId(), tid, 0) == -ESRCH;
}

void Random(void* buffer, size_t bytes) {
  constexpr long kNonBlocking = 1;
  if (Syscall(SYS_getrandom, Word(buffer), static_cast<long>(bytes), kNonBlocking) == static_cast<long>(bytes)) return;
  // Early boot or a sandbox: the sampler needs different seeds, not secrecy.
  uint64_t mix = MonotonicNs() ^ (static_cast<uint64_t>(ThreadId()) << 40) ^ reinterpret_cast<uintptr_t>(buffer);
  auto* at = static_cast<unsigned char*>(buffer);
  for (size_t i = 0; i < bytes; i++) {
    mix = mix * 6364136223846793005u + 1442695040888963407u;
    at[i] = static_cast<unsigned char>(mix >> 56);
  }
}

void FutexWait(const void* word, uint32_t expected, uint64_t timeout_ns) {
  timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000u), static_cast<long>(timeout_ns % 1'000'000'000u)};
  // Not the private form: the kernel's own wake-up at the end of a task (CLONE_CHILD_CLEARTID) is a shared one.
  Syscall(SYS_futex, Word(word), FUTEX_WAIT, static_cast<long>(expected), Word(&timeout));
}

void FutexWake(const void* word) {
  Syscall(SYS_futex, Word(word), FUTEX_WAKE, 0x7fffffff);
}

void InitClock(const void* vdso_ehdr) {
  if (vdso_ehdr == nullptr) return;
  vdso_clock = reinterpret_cast<ClockFunction>(FindVdsoSymbol(vdso_ehdr, "__vdso_clock_gettime"));
}

uint64_t MonotonicNs() {
  return ReadClock(CLOCK_MONOTONIC);
}
uint64_t MonotonicCoarseNs() {
  return ReadClock(CLOCK_MONOTONIC_COARSE);
}
uint64_t RealtimeNs() {
  return ReadClock(CLOCK_REALTIME);
}
uint64_t ThreadCpuNs() {
  timespec now{};
  Syscall(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, Word(&now));
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace leakshim::os
