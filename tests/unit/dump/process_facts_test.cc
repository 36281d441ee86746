#include "dump/process_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "os/os.h"

namespace leakshim {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Written(const ProcessFacts& facts, bool with_cmdline = true) {
  std::vector<char> buffer(1 << 20);
  TextBuffer text(buffer.data(), buffer.size());
  WriteProcessFacts(facts, with_cmdline, text);
  return {text.Text(), text.Size()};
}

std::unique_ptr<ProcessFacts> Collected(const char* proc = "/proc") {
  auto facts = std::make_unique<ProcessFacts>();
  CollectProcessFacts(getpid(), facts.get(), proc);
  return facts;
}

TEST(ProcessFactsTest, OfThisProcessTheyAgreeWithWhatLibcSays) {
  auto facts = Collected();
  EXPECT_EQ(facts->pid, getpid());
  char executable[PATH_MAX] = "";
  ASSERT_GT(readlink("/proc/self/exe", executable, sizeof(executable) - 1), 0);
  EXPECT_STREQ(facts->executable, executable);
  char host[80] = "";
  gethostname(host, sizeof(host) - 1);
  EXPECT_STREQ(facts->host, host);
  EXPECT_EQ(strlen(facts->boot_id), 36u);
  // Started within the last hour, not in the future; clock ticks are 10 ms.
  uint64_t now = os::RealtimeNs();
  ASSERT_TRUE(facts->start_time_ns.known);
  EXPECT_LT(facts->start_time_ns.value, now + 20'000'000);
  EXPECT_GT(facts->start_time_ns.value, now - 3'600'000'000'000);
  EXPECT_GT(facts->rss_bytes.value, 1u << 20);
  EXPECT_EQ(facts->rss_bytes.value,
            facts->rss_anon_bytes.value + facts->rss_file_bytes.value + facts->rss_shmem_bytes.value);
  EXPECT_GE(facts->rss_peak_bytes.value, facts->rss_bytes.value);
  EXPECT_GE(facts->threads.value, 1u);
  EXPECT_TRUE(facts->has_maps);
  EXPECT_GE(facts->maps.stacks, 1u);
  EXPECT_GT(facts->maps.files_bytes, 1u << 20);
  EXPECT_FALSE(facts->has_jvm);
}

TEST(ProcessFactsTest, ThreadsAndTheirStacksAreCounted) {
  std::thread([] {}).join();  // a sanitizer starts its own thread with the first one
  auto before = Collected();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 5; i++) {
    threads.emplace_back([&] {
      while (!stop) usleep(1000);
    });
  }
  auto during = Collected();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(during->threads.value, before->threads.value + 5);
  // Not a difference: libc keeps the stacks of ended threads for the next ones.
  EXPECT_GE(during->maps.stacks, 6u);
}

TEST(ProcessFactsTest, LinesAreThoseOfTheFormat) {
  auto facts = Collected();
  std::string text = Written(*facts);
  EXPECT_THAT(text, AllOf(HasSubstr("# about.executable /"), HasSubstr("# about.cmdline "),
                          HasSubstr("# about.pid " + std::to_string(getpid()) + "\n"), HasSubstr("# memory.rss "),
                          HasSubstr("# memory.map_anon "), Not(HasSubstr("# jvm."))));
  EXPECT_THAT(Written(*facts, false), Not(HasSubstr("about.cmdline")));
}

TEST(ProcessFactsTest, TextsFromOutsideCannotBreakALine) {
  auto facts = std::make_unique<ProcessFacts>();
  facts->pid = 4711;
  strcpy(facts->executable, "/opt/my demo\n@ 0x1");
  const char cmdline[] = "/opt/my demo\0--size\0big one\0a%b\nc";
  memcpy(facts->cmdline, cmdline, sizeof(cmdline));
  facts->cmdline_bytes = sizeof(cmdline);
  facts->has_jvm = true;
  strcpy(facts->jvm.version, "VM 17");
  strcpy(facts->jvm.collectors[1].name, "G1 full");
  facts->jvm.collectors[1].count.Set(3);
  facts->jvm.collectors[1].ns.Set(1'234'567'890);
  EXPECT_EQ(Written(*facts),
            "# about.executable /opt/my demo%0A@ 0x1\n"
            "# about.cmdline /opt/my%20demo --size big%20one a%25b%0Ac\n"
            "# about.pid 4711\n"
            "# about.jvm VM 17\n"
            "# jvm.gc.1.name G1 full\n"
            "# jvm.gc.1.count 3\n"
            "# jvm.gc.1.seconds 1.234\n");
}

TEST(ProcessFactsTest, WithoutProcfsTheRestRemains) {
  auto facts = Collected("/nonexistent");
  EXPECT_FALSE(facts->start_time_ns.known);
  EXPECT_FALSE(facts->rss_bytes.known);
  EXPECT_FALSE(facts->threads.known);
  EXPECT_FALSE(facts->has_maps);
  EXPECT_FALSE(facts->cgroup.usage_bytes.known);
  EXPECT_STREQ(facts->executable, "");
  std::string text = Written(*facts);
  EXPECT_THAT(text, AllOf(HasSubstr("# about.pid "), HasSubstr("# about.host "), Not(HasSubstr("# memory."))));
}

// Forks, so that the host of the tests stays as it is.
TEST(ProcessFactsTest, ProcessThatMayNotBeDumpedDoesNoHarm) {
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_DUMPABLE, 0);
    static ProcessFacts facts;
    CollectProcessFacts(getpid(), &facts);
    _exit(facts.pid == getpid() && facts.start_time_ns.known ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(ProcessFactsTest, AtTheMemoryCapEverythingIsStillCollected) {
  auto facts = std::make_unique<ProcessFacts>();
  os::SetOwnMemoryCap(0);
  CollectProcessFacts(getpid(), facts.get());
  os::SetOwnMemoryCap(64 << 20);
  EXPECT_EQ(facts->pid, getpid());
  EXPECT_TRUE(facts->rss_bytes.known);
}

TEST(ProcessFactsTest, IdentityStaysOverTheLifeOfAPidAndScratchIsGivenBack) {
  uint64_t own_before = os::OwnMemoryBytes();
  auto facts = Collected();
  uint64_t start = facts->start_time_ns.value;
  strcpy(facts->host, "kept");
  CollectProcessFacts(getpid(), facts.get());
  EXPECT_EQ(facts->start_time_ns.value, start);
  EXPECT_STREQ(facts->host, "kept");
  EXPECT_EQ(os::OwnMemoryBytes(), own_before);
}

struct TaskContext {
  int pid;
  ProcessFacts facts;
};

void CollectInTask(TaskContext* context) {
  CollectProcessFacts(context->pid, &context->facts);
}

// Runs function(context) in a child that shares our memory. Not libc's clone(): that one the sanitizers intercept.
long StartTask(void (*function)(TaskContext*), TaskContext* context, char* stack_end) {
  auto* stack = reinterpret_cast<uintptr_t*>(reinterpret_cast<uintptr_t>(stack_end) & ~uintptr_t{15});
  *--stack = reinterpret_cast<uintptr_t>(context);
  *--stack = reinterpret_cast<uintptr_t>(function);
  long result;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "pop %%rax\n\t"
      "pop %%rdi\n\t"
      "call *%%rax\n\t"
      "mov %[exit], %%eax\n\t"
      "xor %%edi, %%edi\n\t"
      "syscall\n"
      "1:"
      : "=a"(result)
      : "0"(SYS_clone), "D"(CLONE_VM | CLONE_UNTRACED), "S"(stack), "d"(0), [exit] "i"(SYS_exit)
      : "rcx", "r11", "memory");
  return result;
}

// As the dump task is started: another process with this one's memory.
TEST(ProcessFactsTest, TaskOfTheProcessSeesTheProcessNotItself) {
  auto direct = Collected();
  auto context = std::make_unique<TaskContext>();
  context->pid = getpid();
  std::vector<char> stack(256 << 10);
  usleep(200'000);  // so that the task's own start is another time
  auto task = static_cast<int>(StartTask(CollectInTask, context.get(), stack.data() + stack.size()));
  ASSERT_GT(task, 0);
  int status = -1;
  ASSERT_EQ(waitpid(task, &status, static_cast<int>(__WCLONE)), task);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(context->facts.pid, getpid());
  ASSERT_TRUE(context->facts.start_time_ns.known);
  EXPECT_NEAR(static_cast<double>(context->facts.start_time_ns.value), static_cast<double>(direct->start_time_ns.value),
              50e6);
  EXPECT_EQ(context->facts.threads.value, direct->threads.value);
  EXPECT_STREQ(context->facts.executable, direct->executable);
  EXPECT_GT(context->facts.rss_bytes.value, 1u << 20);
}

TEST(ProcessFactsTest, StatusLinesAreReadInKibibytes) {
  ProcessFacts* facts = Collected("/nonexistent").release();
  std::unique_ptr<ProcessFacts> owner(facts);
  for (const char* line :
       {"VmRSS:\t    1024 kB", "RssAnon:\t 7 kB", "VmSwap:", "VmHWM:\t18446744073709551615 kB", "Vm"}) {
    ParseStatusLine({line, strlen(line)}, facts);
  }
  EXPECT_EQ(facts->rss_bytes.value, 1u << 20);
  EXPECT_EQ(facts->rss_anon_bytes.value, 7168u);
  EXPECT_FALSE(facts->swap_bytes.known);
  EXPECT_FALSE(facts->rss_peak_bytes.known);
}

TEST(ProcessFactsTest, StatOfAProcessWithBracketsInItsName) {
  uint64_t threads = 0, ticks = 0;
  const char* text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 42 0 987654 1 2\n";
  EXPECT_TRUE(ParseStat({text, strlen(text)}, &threads, &ticks));
  EXPECT_EQ(threads, 42u);
  EXPECT_EQ(ticks, 987654u);
  for (const char* odd :
       {"", "7", "7 (a", "7 (a)", "7 (a) ", "7 (a) S 1 2 3", "7 (a) S 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 x 0 9"}) {
    EXPECT_FALSE(ParseStat({odd, strlen(odd)}, &threads, &ticks)) << odd;
  }
}

}  // namespace
}  // namespace leakshim
