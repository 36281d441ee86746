#include "leakshim/memory_cgroup.h"

#include "gtest/gtest.h"
#include "test_files.h"

namespace leakshim {
namespace {

// A system of files below the fixture's directory.
class MemoryCgroupTest : public FilesTest {
 protected:
  void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(Path(path)).parent_path());
    Write(path, text);
  }
  MemoryCgroup Read() const { return ReadMemoryCgroup(Path(""), "proc/4711"); }
};

TEST_F(MemoryCgroupTest, Version1) {
  Put("proc/4711/cgroup", "12:pids:/x\n7:cpu,memory:/app\n0::/\n");
  Put("proc/self/mountinfo",
      "30 20 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
      "31 20 0:27 / /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,cpu,memory\n");
  Put("sys/fs/cgroup/memory/app/memory.usage_in_bytes", "900\n");
  Put("sys/fs/cgroup/memory/app/memory.limit_in_bytes", "1000\n");
  Put("sys/fs/cgroup/memory/app/memory.stat",
      "inactive_file 1\nhierarchical_memory_limit 950\ntotal_inactive_file 300\n");
  const MemoryCgroup memory = Read();
  EXPECT_EQ(memory.version, 1);
  EXPECT_EQ(memory.limit_bytes, 950u) << "the limit above it is lower";
  EXPECT_EQ(memory.usage_bytes, 900u);
  EXPECT_EQ(memory.working_set_bytes, 600u);
}

TEST_F(MemoryCgroupTest, Version1WithoutALimitHasNone) {
  Put("proc/4711/cgroup", "7:memory:/\n");
  Put("proc/self/mountinfo", "31 20 0:27 / /cg rw - cgroup cgroup rw,memory\n");
  Put("cg/memory.usage_in_bytes", "900\n");
  Put("cg/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Read().version, 1);
  EXPECT_FALSE(Read().limit_bytes.has_value());
}

TEST_F(MemoryCgroupTest, Version2TakesTheSmallestLimitAbove) {
  Put("proc/4711/cgroup", "0::/pod/app\n");
  Put("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Put("sys/fs/cgroup/pod/memory.max", "4096\n");
  Put("sys/fs/cgroup/pod/app/memory.max", "max\n");
  Put("sys/fs/cgroup/pod/app/memory.current", "2000\n");
  Put("sys/fs/cgroup/pod/app/memory.stat", "anon 5\ninactive_file 500\n");
  const MemoryCgroup memory = Read();
  EXPECT_EQ(memory.version, 2);
  EXPECT_EQ(memory.limit_bytes, 4096u);
  EXPECT_EQ(memory.working_set_bytes, 1500u);
}

TEST_F(MemoryCgroupTest, InAContainerTheMountItselfIsTheCgroup) {
  Put("proc/4711/cgroup", "0::/../outside\n");
  Put("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  Put("sys/fs/cgroup/memory.max", "1000\n");
  Put("sys/fs/cgroup/memory.current", "10\n");
  EXPECT_EQ(Read().limit_bytes, 1000u);
}

TEST_F(MemoryCgroupTest, NothingReadableIsNothingKnown) {
  EXPECT_EQ(Read().version, 0);
  Put("proc/4711/cgroup", "\n:::\nmemory\n0::\n");
  Put("proc/self/mountinfo", "x - y\n\n1 2 3 - cgroup2\n");
  EXPECT_EQ(Read().version, 0);
  EXPECT_FALSE(Read().usage_bytes.has_value());
}

}  // namespace
}  // namespace leakshim
