#include "os/os.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <barrier>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "os/shards.h"

namespace leakshim {
namespace {

constexpr size_t kPage = 4096;

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class OsFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "leakshim_os_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name + "/";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST(OsTest, SafeReadCopiesWhatIsMappedAndNeverFaults) {
  auto* pages =
      static_cast<char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  memset(pages, 'a', 2 * kPage);
  char copy[200] = "";
  auto address = reinterpret_cast<uintptr_t>(pages);
  EXPECT_EQ(os::SafeRead(copy, address, sizeof(copy)), 200);
  EXPECT_EQ(copy[199], 'a');
  munmap(pages + kPage, kPage);
  EXPECT_EQ(os::SafeRead(copy, address + kPage - 50, sizeof(copy)), 50);
  EXPECT_EQ(os::SafeRead(copy, address + kPage, sizeof(copy)), 0);
  mprotect(pages, kPage, PROT_NONE);
  EXPECT_EQ(os::SafeRead(copy, address, sizeof(copy)), 0);
  munmap(pages, kPage);
  EXPECT_EQ(os::SafeRead(copy, address, sizeof(copy)), 0);
  EXPECT_LE(os::SafeRead(copy, 0, sizeof(copy)), 0);
  EXPECT_LE(os::SafeRead(copy, UINTPTR_MAX - 10, sizeof(copy)), 0);
}

TEST(OsTest, OwnMemoryIsCountedCappedAndGivenBack) {
  uint64_t before = os::OwnMemoryBytes();
  auto* memory = static_cast<char*>(os::MapOwn(kPage + 1));
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(os::OwnMemoryBytes(), before + 2 * kPage);
  EXPECT_EQ(memory[kPage], 0);
  os::UnmapOwn(memory, kPage + 1);
  EXPECT_EQ(os::OwnMemoryBytes(), before);

  uint64_t failures = os::OwnMemoryFailures();
  os::SetOwnMemoryCap(before + kPage);
  EXPECT_EQ(os::MapOwn(kPage + 1), nullptr);
  memory = static_cast<char*>(os::MapOwn(kPage));
  EXPECT_NE(memory, nullptr);
  os::UnmapOwn(memory, kPage);
  os::SetOwnMemoryCap(64 << 20);
  EXPECT_EQ(os::OwnMemoryFailures(), failures + 1);
  EXPECT_EQ(os::OwnMemoryBytes(), before);
}

// What needs memory must not be told that it is short because something else would have liked some.
TEST(OsTest, SpareMemoryLeavesHalfOfTheCapAndFailsSilently) {
  uint64_t before = os::OwnMemoryBytes(), failures = os::OwnMemoryFailures();
  os::SetOwnMemoryCap(2 * (before + kPage));
  void* memory = os::MapSpare(kPage);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(os::OwnMemoryBytes(), before + kPage);
  EXPECT_EQ(os::MapSpare(kPage), nullptr);
  os::UnmapOwn(memory, kPage);
  os::SetOwnMemoryCap(64 << 20);
  EXPECT_EQ(os::OwnMemoryFailures(), failures);
  EXPECT_EQ(os::OwnMemoryBytes(), before);
}

TEST(OsTest, ErrorsAreResultsAndErrnoStays) {
  errno = 4711;
  EXPECT_EQ(os::Open("/nonexistent/file", O_RDONLY), -ENOENT);
  char byte;
  EXPECT_EQ(os::Read(-1, &byte, 1), -EBADF);
  EXPECT_EQ(os::ReadFile("/nonexistent/file", &byte, 1), -ENOENT);
  EXPECT_EQ(os::WriteAll(-1, "x", 1), -EBADF);
  EXPECT_EQ(errno, 4711);
}

TEST(OsTest, ThreadsAreSpreadOverTheShardsAndNothingIsLostInThem) {
  constexpr int kThreads = 64, kAdds = 1000;
  static os::ShardedCounter counter;
  std::barrier all_run(kThreads);
  std::mutex mutex;
  std::map<unsigned, int> threads_of;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back([&] {
      // All at once: each has a stack of its own.
      all_run.arrive_and_wait();
      for (int i = 0; i < kAdds; i++) counter.Add(1);
      const std::lock_guard lock(mutex);
      threads_of[os::ShardOfThread()]++;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter.Sum(), uint64_t{kThreads} * kAdds);
  EXPECT_LT(threads_of.rbegin()->first, 1u << os::kShardsLg);
  EXPECT_GE(threads_of.size(), size_t{1} << (os::kShardsLg - 1));
}

TEST_F(OsFilesTest, RenameNeverReplacesAFile) {
  std::string from = folder_ + "from", to = folder_ + "to";
  std::ofstream(from) << "new";
  std::ofstream(to) << "old";
  EXPECT_EQ(os::RenameNoReplace(from.c_str(), to.c_str()), -EEXIST);
  EXPECT_EQ(ContentOf(from), "new");
  EXPECT_EQ(ContentOf(to), "old");
  unlink(to.c_str());
  // Not even what a dangling link points to.
  ASSERT_EQ(symlink("elsewhere", to.c_str()), 0);
  EXPECT_EQ(os::RenameNoReplace(from.c_str(), to.c_str()), -EEXIST);
  unlink(to.c_str());
  EXPECT_EQ(os::RenameNoReplace(from.c_str(), to.c_str()), 0);
  EXPECT_EQ(ContentOf(to), "new");
  EXPECT_FALSE(std::filesystem::exists(from));
  EXPECT_EQ(os::RenameNoReplace(from.c_str(), to.c_str()), -ENOENT);
}

TEST_F(OsFilesTest, FilesAreWrittenAndReadWhole) {
  std::string path = folder_ + "file", text(100000, 'x');
  int fd = os::Open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(os::WriteAll(fd, text.data(), text.size()), 0);
  EXPECT_EQ(os::Close(fd), 0);
  EXPECT_EQ(ContentOf(path), text);
  std::string read(text.size() + 1, 'y');
  EXPECT_EQ(os::ReadFile(path.c_str(), read.data(), read.size()), 100000);
  EXPECT_EQ(os::ReadFile(path.c_str(), read.data(), 10), 10);
  struct stat status;
  EXPECT_EQ(os::Stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 100000);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(os::Unlink(path.c_str()), 0);
  EXPECT_EQ(os::Unlink(path.c_str()), -ENOENT);
}

TEST_F(OsFilesTest, FoldersAndLinks) {
  std::string inner = folder_ + "inner", link = folder_ + "link";
  EXPECT_EQ(os::MakeDirectory(inner.c_str(), 0700), 0);
  EXPECT_EQ(os::MakeDirectory(inner.c_str(), 0700), -EEXIST);
  ASSERT_EQ(symlink("target", link.c_str()), 0);
  char target[16];
  EXPECT_EQ(os::ReadLink(link.c_str(), target, sizeof(target)), 6);
  EXPECT_EQ(std::string(target, 6), "target");
}

TEST(OsTest, ThreadsAreToldGoneOnlyAfterTheirEnd) {
  int tid = 0;
  std::thread thread([&] { tid = os::ThreadId(); });
  EXPECT_FALSE(os::ThreadIsGone(os::ThreadId()));
  thread.join();
  // The kernel clears the thread's id for join() shortly before the thread is really gone.
  for (int i = 0; i < 1000 && !os::ThreadIsGone(tid); i++) usleep(1000);
  EXPECT_TRUE(os::ThreadIsGone(tid));
}

TEST(OsTest, FutexWaitsUntilItsTimeoutOrAnotherValue) {
  uint32_t word = 1;
  os::FutexWait(&word, 0, 10'000'000'000);
  uint64_t start = os::MonotonicNs();
  os::FutexWait(&word, 1, 5'000'000);
  EXPECT_GE(os::MonotonicNs() - start, 4'000'000u);
}

TEST(OsTest, RandomDiffers) {
  uint64_t a = 0, b = 0;
  os::Random(&a, sizeof(a));
  os::Random(&b, sizeof(b));
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace leakshim
