#include "leakshim/check.h"

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "leakshim/check_surroundings.h"
#include "leakshim/elf_dynamic.h"
#include "test_files.h"

namespace leakshim {

// What a failing test shows.
void PrintTo(const Finding& finding, std::ostream* out);
void PrintTo(const Finding& finding, std::ostream* out) {
  *out << static_cast<int>(finding.mark) << " " << finding.text;
}

namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

MATCHER_P2(Says, mark, text, "") {
  return arg.mark == mark && arg.text.find(text) != std::string::npos;
}

// Process 4711 in a /proc of the test's own.
class CheckProcessTest : public FilesTest {
 protected:
  CheckProcessTest() {
    Put("proc/self/mountinfo", "");
    Link("mnt:[1]", "proc/self/ns/mnt");
    Link("mnt:[1]", "proc/4711/ns/mnt");
    Link("/usr/bin/app", "proc/4711/exe");
    Link("/", "proc/4711/root");
    Link(Path("work"), "proc/4711/cwd");
    std::filesystem::create_directory(Path("work"));
    Status("");
    Environment({});
    Put("proc/4711/cmdline", std::string("app\0--port\0", 11));
  }

  void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(Path(path)).parent_path());
    Write(path, text);
  }
  void Link(const std::string& target, const std::string& path) {
    std::filesystem::create_directories(std::filesystem::path(Path(path)).parent_path());
    std::filesystem::remove(Path(path));
    std::filesystem::create_symlink(target, Path(path));
  }
  void Status(const std::string& more) {
    const std::string uid = std::to_string(geteuid());
    Put("proc/4711/status", "Name:\tapp\nUid:\t" + uid + "\t" + uid + "\t" + uid + "\t" + uid + "\n" + more);
  }
  void Environment(const std::vector<std::string>& pairs) {
    std::string text;
    for (const std::string& pair : pairs) text += pair + '\0';
    Put("proc/4711/environ", text);
  }
  void Maps(const std::vector<std::string>& files) {
    std::string text;
    for (const std::string& file : files) text += "7f0000000000-7f0000001000 r-xp 00000000 fe:01 42   " + file + "\n";
    Put("proc/4711/maps", text + "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0   [stack]\n");
  }
  std::string CopyOf(const std::string& file, const std::string& name) {
    std::filesystem::copy_file(file, Path(name));
    return Path(name);
  }
  Findings Check(const Page& page = {}) const {
    absl::StatusOr<ProcessFiles> process = ReadProcessFiles(4711, Path("").substr(0, Path("").size() - 1));
    EXPECT_TRUE(process.ok()) << process.status();
    return process.ok() ? CheckProcess(*process, page) : Findings();
  }
};

TEST_F(CheckProcessTest, LoadedAndWithoutAPageItHasSampledNothing) {
  Maps({"/opt/libleakshim.so"});
  EXPECT_THAT(Check(), Contains(Says(Mark::kOk, "/opt/libleakshim.so is loaded")));
  EXPECT_THAT(Check(), Contains(Says(Mark::kWarn, "nothing sampled yet")));
}

TEST_F(CheckProcessTest, LibraryThatWasReplacedIsTold) {
  Maps({"/opt/libleakshim.so (deleted)"});
  EXPECT_THAT(Check(), Contains(Says(Mark::kWarn, "restart when it suits")));
}

TEST_F(CheckProcessTest, SecureModeIsTheReason) {
  Elf64_auxv_t entries[2] = {};
  entries[0].a_type = AT_SECURE;
  entries[0].a_un.a_val = 1;
  Put("proc/4711/auxv", std::string(reinterpret_cast<const char*>(entries), sizeof entries));
  Environment({"LD_PRELOAD=/opt/libleakshim.so"});
  Maps({"/usr/lib/libc.so.6"});
  EXPECT_THAT(Check(), Contains(Says(Mark::kNo, "started setuid, setgid or with file capabilities")));
  Maps({"/usr/lib/libc.so.6", "/opt/libleakshim.so"});
  EXPECT_THAT(Check(), Contains(Says(Mark::kNo, "takes no orders")));
}

TEST_F(CheckProcessTest, GlibcThatIsTooOldIsTheReason) {
  ASSERT_EQ(ReadElfDynamic(OLD_LIBC)->is_glibc, (GlibcVersion{2, 12})) << OLD_LIBC;
  const std::string library = CopyOf(OLD_LIBC, "libleakshim.so");
  Environment({"LD_PRELOAD=" + library});
  Maps({OLD_LIBC});
  EXPECT_THAT(Check(), Contains(Says(Mark::kNo, "glibc 2.12 is too old for " + library + ", which needs 2.17")));
}

TEST_F(CheckProcessTest, SandboxesAreTold) {
  Maps({"/opt/libleakshim.so"});
  Status("Seccomp:\t2\n");
  EXPECT_THAT(Check(), Contains(Says(Mark::kOk, "a seccomp filter")));
  Status("Seccomp:\t1\n");
  EXPECT_THAT(Check(), Contains(Says(Mark::kWarn, "strict seccomp")));
  Status("Seccomp:\t0\n");
  EXPECT_THAT(Check(), Not(Contains(Says(Mark::kWarn, "seccomp"))));
}

TEST_F(CheckProcessTest, FilesOfAContainerAreBelowItsRoot) {
  Link("mnt:[2]", "proc/4711/ns/mnt");
  Link("/srv", "proc/4711/cwd");
  Status("NSpid:\t4711\t7\n");
  std::filesystem::remove(Path("proc/4711/root"));
  Put("proc/4711/root/srv/file", "");
  Maps({"/opt/libleakshim.so"});
  EXPECT_THAT(Check(), Contains(Says(Mark::kOk, "to itself it is process 7")));
  EXPECT_THAT(Check(), Contains(Says(Mark::kOk, "dumps: /srv can be written")));
}

TEST_F(CheckProcessTest, MemoryLimitIsToldAndNearnessWarns) {
  Maps({"/opt/libleakshim.so"});
  Put("proc/4711/cgroup", "0::/\n");
  Put("proc/self/mountinfo", "30 20 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
  Put("cg/memory.max", "1000\n");
  Put("cg/memory.stat", "inactive_file 100\n");
  Put("cg/memory.current", "700\n");
  EXPECT_THAT(Check(), Contains(Says(Mark::kOk, "memory limit: 1000B (cgroup version 2), 600B in use, 60 %")));
  Put("cg/memory.current", "1000\n");
  EXPECT_THAT(Check(), Contains(Says(Mark::kWarn, "90 %; the kernel is about to kill it")));
}

TEST_F(CheckProcessTest, SmallFilesAreTold) {
  Maps({"/opt/libleakshim.so"});
  Put("proc/4711/limits",
      "Limit Soft Hard Units\nMax file size             65536                unlimited            bytes\n");
  EXPECT_THAT(Check(), Contains(Says(Mark::kWarn, "files of more than 64.0K are forbidden")));
}

TEST_F(CheckProcessTest, UnknownJvmEndsStacks) {
  Maps({"/opt/libleakshim.so", CopyOf(OLD_LIBC, "libjvm.so")});
  EXPECT_THAT(Check(), Contains(Says(Mark::kWarn, "is not HotSpot")));
}

TEST_F(CheckProcessTest, AProcessThatIsGoneIsAnError) {
  EXPECT_TRUE(absl::IsNotFound(ReadProcessFiles(4712, Path("")).status()));
  std::filesystem::remove(Path("proc/4711/exe"));
  EXPECT_TRUE(absl::IsNotFound(ReadProcessFiles(4711, Path("")).status()));
}

using ElfDynamicTest = FilesTest;

TEST_F(ElfDynamicTest, OwnProgramNeedsLibcAndHasNoMalloc) {
  const absl::StatusOr<ElfDynamic> own = ReadElfDynamic("/proc/self/exe");
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_THAT(own->needed, Contains("libc.so.6"));
  EXPECT_GE(own->needs_glibc, (GlibcVersion{2, 2}));
  EXPECT_EQ(own->is_glibc, GlibcVersion());
  EXPECT_FALSE(own->has_vm_structs);
}

TEST_F(ElfDynamicTest, DamageIsAnErrorOrLessButNoHarm) {
  std::ifstream file(OLD_LIBC, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(file), {}};
  ASSERT_GT(whole.size(), 4096u);
  unsigned state = 1;
  for (int trial = 0; trial < 300; trial++) {
    std::string bytes = whole;
    for (int change = 0; change < 8; change++) {
      state = state * 1103515245 + 12345;
      // Half of it among the section headers at the end, where the tables are described.
      const size_t at = (state >> 8) % (change % 2 == 0 ? bytes.size() : 2048);
      state = state * 1103515245 + 12345;
      bytes[change % 2 == 0 ? at : bytes.size() - 1 - at] = static_cast<char>(state >> 16);
    }
    if (trial % 4 == 0) bytes.resize(state % bytes.size());
    const std::string path = Write("damaged", bytes);
    ReadElfDynamic(path).IgnoreError();
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ReadElfDynamic(Write("text", "#!/bin/sh\n")).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadElfDynamic(Path("none")).status()));
  mkfifo(Path("pipe").c_str(), 0600);
  EXPECT_TRUE(absl::IsInvalidArgument(ReadElfDynamic(Path("pipe")).status())) << "and does not wait";
}

}  // namespace
}  // namespace leakshim
