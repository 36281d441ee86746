#include "dump/signal_trigger.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/message.h"

namespace leakshim {
namespace {

constexpr uint64_t kSecond = 1'000'000'000u;

// Arming is once for each process, and so is each test's process.
int StatusOf(void (*test)()) {
  pid_t child = fork();
  if (child == 0) {
    test();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

TEST(SignalTriggerTest, ASignalIsTakenOnceHoweverOftenItCame) {
  EXPECT_EQ(StatusOf([] {
              EXPECT_FALSE(SignalTrigger::Take(0));
              SignalTrigger::Arm(SIGUSR2);
              EXPECT_FALSE(SignalTrigger::Take(0));
              for (int i = 0; i < 5; i++) raise(SIGUSR2);
              EXPECT_TRUE(SignalTrigger::Take(0));
              EXPECT_FALSE(SignalTrigger::Take(0));
              raise(SIGUSR2);
              EXPECT_TRUE(SignalTrigger::Take(0));
            }),
            0);
}

TEST(SignalTriggerTest, WhatIsHandledOrIgnoredStaysAsItIs) {
  EXPECT_EQ(StatusOf([] {
              signal(SIGUSR1, [](int) {});
              signal(SIGUSR2, SIG_IGN);
              for (int number : {SIGUSR1, SIGUSR2}) {
                struct sigaction before {
                }, after{};
                sigaction(number, nullptr, &before);
                SignalTrigger::Arm(number);
                sigaction(number, nullptr, &after);
                EXPECT_EQ(before.sa_handler, after.sa_handler);
                raise(number);
                EXPECT_FALSE(SignalTrigger::Take(0));
              }
            }),
            0);
}

TEST(SignalTriggerTest, WhoTakesTheSignalLaterHasIt) {
  EXPECT_EQ(StatusOf([] {
              SignalTrigger::Arm(SIGUSR2);
              static int seen;
              signal(SIGUSR2, [](int) { seen++; });
              raise(SIGUSR2);
              EXPECT_EQ(seen, 1);
              EXPECT_FALSE(SignalTrigger::Take(2 * kSecond));
              struct sigaction now {};
              sigaction(SIGUSR2, nullptr, &now);
              EXPECT_NE(now.sa_handler, SIG_DFL) << "not taken back";
            }),
            0);
}

// A debugger's and an unwinder's way through a handler's frame is by these bytes.
TEST(SignalTriggerTest, TheWayBackIsRecognisable) {
  EXPECT_EQ(StatusOf([] {
              SignalTrigger::Arm(SIGUSR2);
              struct sigaction now {};
              sigaction(SIGUSR2, nullptr, &now);
              EXPECT_EQ(now.sa_flags & (SA_RESTART | SA_ONSTACK), SA_RESTART | SA_ONSTACK);
              const unsigned char bytes[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
              EXPECT_EQ(memcmp(reinterpret_cast<const void*>(now.sa_restorer), bytes, sizeof(bytes)), 0);
            }),
            0);
}

}  // namespace
}  // namespace leakshim
