#include "dump/dump_task.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "os/os.h"
#include "os/process_generation.h"

namespace leakshim {
namespace {

constexpr uint64_t kSecond = 1'000'000'000u;

void Increment(void* counter) {
  static_cast<std::atomic<int>*>(counter)->fetch_add(1);
}

TEST(DumpTaskTest, RunsAThousandTimesAndLeavesNoChild) {
  std::atomic<int> ran{0};
  for (int i = 0; i < 1000; i++) {
    ASSERT_TRUE(DumpTask::Lock(5 * kSecond));
    ASSERT_TRUE(DumpTask::Start(&Increment, &ran));
  }
  ASSERT_TRUE(DumpTask::Lock(5 * kSecond));
  DumpTask::Unlock();
  EXPECT_EQ(ran, 1000);
  int status;
  EXPECT_EQ(waitpid(-1, &status, WNOHANG), -1) << "the host's wait must not see the task";
  EXPECT_EQ(errno, ECHILD);
  for (int i = 0; i < 100; i++) {
    DumpTask::ReapEnded();
    if (waitpid(-1, &status, WNOHANG | static_cast<int>(__WCLONE)) == -1 && errno == ECHILD) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  FAIL() << "a zombie stayed";
}

TEST(DumpTaskTest, TheLockIsHeldUntilTheTaskHasEnded) {
  static std::atomic<bool> go{false};
  ASSERT_TRUE(DumpTask::Lock(5 * kSecond));
  ASSERT_TRUE(DumpTask::Start(
      [](void*) {
        while (!go) os::FutexWait(&go, 0, 1'000'000);
      },
      nullptr));
  EXPECT_FALSE(DumpTask::TryLock());
  EXPECT_FALSE(DumpTask::Lock(20'000'000));
  go = true;
  EXPECT_TRUE(DumpTask::Lock(5 * kSecond));
  DumpTask::Unlock();
}

TEST(DumpTaskTest, AForkChildDoesNotInheritTheLock) {
  os::InitProcessGeneration();
  ASSERT_TRUE(DumpTask::Lock(5 * kSecond));
  pid_t child = fork();
  if (child == 0) _exit(DumpTask::TryLock() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(DumpTask::TryLock());
  DumpTask::Unlock();
}

}  // namespace
}  // namespace leakshim
