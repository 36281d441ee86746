#include "leakshim/command.h"

#include <unistd.h>

#include "elf_bytes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test_files.h"

namespace leakshim {
namespace {

using ::testing::HasSubstr;

constexpr char kLoader[] = "/lib64/ld-linux-x86-64.so.2";

class CommandTest : public FilesTest {
 protected:
  std::string Reason(const std::string& content) const {
    return std::string(CheckPreloadable(Write("program", content, 0755)).message());
  }
};

TEST_F(CommandTest, FirstExecutableInThePathIsTaken) {
  std::filesystem::create_directory(Path("a"));
  std::filesystem::create_directory(Path("b"));
  Write("a/tool", "", 0644);
  Write("b/tool", "", 0755);
  EXPECT_EQ(*FindCommand("tool", Path("none") + ":" + Path("a") + ":" + Path("b")), Path("b/tool"));
}

TEST_F(CommandTest, NameWithASlashIsNotSearched) {
  Write("tool", "", 0755);
  EXPECT_TRUE(absl::IsNotFound(FindCommand("./tool", Path("")).status()));
  EXPECT_EQ(*FindCommand(Path("tool"), ""), Path("tool"));
}

TEST_F(CommandTest, MissingAndForbiddenDiffer) {
  Write("text", "", 0644);
  EXPECT_TRUE(absl::IsNotFound(FindCommand("none", Path("")).status()));
  EXPECT_TRUE(absl::IsNotFound(FindCommand("", Path("")).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(FindCommand("text", Path("")).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(FindCommand(Path(""), "").status())) << "a directory";
}

TEST_F(CommandTest, DynamicProgramPasses) {
  EXPECT_TRUE(CheckPreloadable("/proc/self/exe").ok()) << CheckPreloadable("/proc/self/exe");
  EXPECT_EQ(Reason(ElfBytes{.interpreter = kLoader}.Build()), "");
}

TEST_F(CommandTest, LoaderAsACommandPasses) {
  EXPECT_TRUE(CheckPreloadable(kLoader).ok()) << CheckPreloadable(kLoader);
}

TEST_F(CommandTest, ProgramsOutOfReachAreNamed) {
  EXPECT_THAT(Reason(ElfBytes().Build()), HasSubstr("statically linked"));
  EXPECT_THAT(Reason(ElfBytes{.elf_class = ELFCLASS32, .machine = EM_386}.Build()), HasSubstr("32-bit"));
  EXPECT_THAT(Reason(ElfBytes{.machine = EM_AARCH64}.Build()), HasSubstr("another architecture"));
  EXPECT_THAT(Reason(ElfBytes{.interpreter = "/lib/ld-musl-x86_64.so.1"}.Build()), HasSubstr("built for musl"));
  EXPECT_THAT(Reason(ElfBytes{.interpreter = "/no/loader.so"}.Build()), HasSubstr("does not exist"));
}

TEST_F(CommandTest, ScriptIsJudgedByItsInterpreter) {
  std::string program = Write("static", ElfBytes().Build(), 0755);
  EXPECT_EQ(Reason("#!/bin/sh\n"), "");
  EXPECT_EQ(Reason("#! /bin/sh -e\n"), "");
  EXPECT_EQ(Reason("echo without a first line\n"), "");
  EXPECT_THAT(Reason("#!" + program + " -x\n"), HasSubstr(program + " is statically linked"));
  EXPECT_THAT(Reason("#!/no/interpreter\n"), HasSubstr("/no/interpreter, which does not exist"));
}

TEST_F(CommandTest, ScriptOfAScriptIsFollowedAndALoopEnds) {
  std::string inner = Write("inner", "#!" + Write("static", ElfBytes().Build(), 0755) + "\n", 0755);
  EXPECT_THAT(Reason("#!" + inner + "\n"), HasSubstr("statically linked"));
  std::string loop = Write("loop", "#!" + Path("loop") + "\n", 0755);
  EXPECT_TRUE(CheckPreloadable(loop).ok());
}

TEST_F(CommandTest, EnvIsFollowedToItsProgram) {
  std::string program = Write("static", ElfBytes().Build(), 0755);
  EXPECT_THAT(Reason("#!/usr/bin/env -S -u FOO A=1 " + program + " -x\n"),
              HasSubstr(program + " is statically linked"));
  EXPECT_EQ(Reason("#!/usr/bin/env no-such-program\n"), "") << "env says so itself";
  EXPECT_EQ(Reason("#!/usr/bin/env\n"), "");
  EXPECT_THAT(Reason("#!/usr/bin/env -S -i sh\n"), HasSubstr("clears the environment"));
}

struct stat FileOf(uid_t uid, gid_t gid, mode_t mode) {
  struct stat file = {};
  file.st_uid = uid;
  file.st_gid = gid;
  file.st_mode = S_IFREG | mode;
  return file;
}

TEST(RunsInSecureModeTest, SetuidToAnotherUser) {
  Credentials user{.uid = 1000, .gid = 1000};
  EXPECT_TRUE(RunsInSecureMode(FileOf(0, 0, 04755), false, false, user));
  EXPECT_FALSE(RunsInSecureMode(FileOf(0, 0, 0755), false, false, user));
  EXPECT_FALSE(RunsInSecureMode(FileOf(1000, 0, 04755), false, false, user)) << "to oneself changes nothing";
}

TEST(RunsInSecureModeTest, SetgidToAnotherGroup) {
  Credentials user{.uid = 1000, .gid = 1000};
  EXPECT_TRUE(RunsInSecureMode(FileOf(1000, 0, 02755), false, false, user));
  EXPECT_FALSE(RunsInSecureMode(FileOf(1000, 0, 02745), false, false, user)) << "without x it is no setgid";
  EXPECT_FALSE(RunsInSecureMode(FileOf(1000, 1000, 02755), false, false, user));
}

TEST(RunsInSecureModeTest, CapabilitiesUnlessRoot) {
  EXPECT_TRUE(RunsInSecureMode(FileOf(0, 0, 0755), true, false, {.uid = 1000, .gid = 1000}));
  EXPECT_FALSE(RunsInSecureMode(FileOf(0, 0, 0755), true, false, {.uid = 0, .gid = 0}));
}

TEST(RunsInSecureModeTest, NotWherePrivilegesCannotGrow) {
  Credentials bounded{.uid = 1000, .gid = 1000, .no_new_privileges = true};
  EXPECT_FALSE(RunsInSecureMode(FileOf(0, 0, 06755), true, false, bounded));
  EXPECT_FALSE(RunsInSecureMode(FileOf(0, 0, 06755), true, /*ignores_setuid=*/true, {.uid = 1000, .gid = 1000}));
}

}  // namespace
}  // namespace leakshim
