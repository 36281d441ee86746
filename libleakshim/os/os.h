// Everything that the runtime asks of the kernel: raw system calls, no libc, no errno, no locks, no thread-local data.
//
// Every function may run in a hook, in a signal handler and in the dump task. Results follow the kernel: a value, or
// -errno (never -1 plus errno). All lasting memory comes from MapOwn(), so that one cap and one counter cover it.
#pragma once

#include <cstddef>
#include <cstdint>

struct stat;

namespace leakshim::os {

// --- memory -------------------------------------------------------------------------------------------------------

// Anonymous private memory, zeroed, counted against the cap (SetOwnMemoryCap). Returns nullptr at the cap or when the
// kernel refuses. `bytes` is rounded up to pages. The mapping is named "leakshim" where the kernel can (5.17).
void* MapOwn(size_t bytes);

// The same for what is of use, but not needed: nullptr also where less than half of the cap would be left for what is.
// That is no failure.
void* MapSpare(size_t bytes);

// Gives back what these gave; `bytes` as it was asked for.
void UnmapOwn(void* address, size_t bytes);

// The same beside the cap, for the scratch of the one dump that runs: a process at its cap must still be able to tell.
void* MapForDump(size_t bytes);
void UnmapForDump(void* address, size_t bytes);

// Bytes mapped by MapOwn() now, and how often it failed.
uint64_t OwnMemoryBytes();
uint64_t OwnMemoryFailures();
void SetOwnMemoryCap(uint64_t bytes);

// Copies `bytes` from `source` in this process to `destination` without ever faulting. Returns the number of bytes
// copied (less than asked for where the range ends in unmapped memory), or -errno where the kernel refuses the call.
int64_t SafeRead(void* destination, uintptr_t source, size_t bytes);

// Whether the page of `address` can be read now: asks the kernel to read there for a call that then fails for another
// reason. No side effect, no descriptor, and allowed wherever signals are.
bool PageIsReadable(uintptr_t address);

// --- files --------------------------------------------------------------------------------------------------------

int Open(const char* path, int flags, uint32_t mode = 0);
int Close(int fd);
int64_t Read(int fd, void* buffer, size_t bytes);                     // retries EINTR
int64_t ReadAt(int fd, void* buffer, size_t bytes, uint64_t offset);  // pread, retries EINTR
int64_t Write(int fd, const void* buffer, size_t bytes);              // retries EINTR; may be short
int Seek(int fd, uint64_t offset);                                    // from the start; 0 or -errno
int WriteAll(int fd, const void* buffer, size_t bytes);               // 0 or -errno
// Whole small file into `buffer`; returns bytes read (at most `bytes`) or -errno. Adds no NUL.
int64_t ReadFile(const char* path, void* buffer, size_t bytes);
int MakeDirectory(const char* path, uint32_t mode);
int Unlink(const char* path);
int Stat(const char* path, struct stat* status);      // newfstatat; `struct stat` of <sys/stat.h>
int LinkStat(const char* path, struct stat* status);  // does not follow a symbolic link
int DescriptorStat(int fd, struct stat* status);
int SetMode(int fd, uint32_t mode);
int64_t ReadLink(const char* path, char* buffer, size_t bytes);
int64_t CurrentDirectory(char* buffer, size_t bytes);  // length including the NUL, or -errno
// Directory entries as the kernel's linux_dirent64 records.
int64_t ReadDirectory(int fd, void* buffer, size_t bytes);
// Gives `from` the name `to` unless that exists (-EEXIST): renameat2(RENAME_NOREPLACE), else link and unlink.
int RenameNoReplace(const char* from, const char* to);

// --- process and threads --------------------------------------------------------------------------------------------

int ProcessId();
// The calling thread's name as the kernel has it.
void ThreadName(char (&name)[16]);
// RLIMIT_FSIZE of this process in bytes, ~0: none.
uint64_t FileSizeLimit();
// Fills `name` with the host's name.
void HostName(char (&name)[65]);
int ThreadId();
uint32_t UserId();           // effective
bool ThreadIsGone(int tid);  // tgkill(pid, tid, 0) says ESRCH
void Random(void* buffer, size_t bytes);
// Sleeps while *word == expected, at most timeout_ns. FutexWake wakes everyone.
void FutexWait(const void* word, uint32_t expected, uint64_t timeout_ns);
void FutexWake(const void* word);

// --- clocks (nanoseconds) -------------------------------------------------------------------------------------------

// Finds the vDSO's clock; without it each reading is a system call. Called once, from the constructor.
void InitClock(const void* vdso_ehdr);
uint64_t MonotonicNs();
uint64_t MonotonicCoarseNs();  // one tick (1-4 ms) behind at most; a few ns to read
uint64_t RealtimeNs();
uint64_t ThreadCpuNs();

// --- the system call itself
// -------------------------------------------------------------------------------------------

long Syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);

}  // namespace leakshim::os
