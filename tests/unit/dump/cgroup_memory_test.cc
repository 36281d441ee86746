#include "dump/cgroup_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace leakshim {
namespace {

// A folder that stands for /sys/fs/cgroup; in the texts, @ stands for it.
class CgroupMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "leakshim_cgroup_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& file, const std::string& content) {
    std::filesystem::path path = root_ + "/" + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << content;
  }

  CgroupMemory Read(std::string cgroup, std::string mountinfo) {
    auto finder = std::make_unique<CgroupFinder>();
    ForEachLine(cgroup, [&](Slice line) { finder->AddCgroupLine(line); });
    ForEachLine(mountinfo, [&](Slice line) { finder->AddMountLine(line); });
    CgroupMemory memory;
    char buffer[4096];
    finder->Read(&memory, buffer, sizeof(buffer));
    return memory;
  }

  std::string root_;

 private:
  template <typename F>
  void ForEachLine(std::string text, F f) {
    for (size_t at; (at = text.find('@')) != std::string::npos;) text.replace(at, 1, root_);
    Slice rest{text.data(), text.size()};
    while (rest.bytes > 0) f(TakeField(&rest, '\n'));
  }
};

constexpr char kVersion2Mount[] = "30 23 0:26 / @ rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

TEST_F(CgroupMemoryTest, Version2WithTheSmallestLimitAbove) {
  Write("kube/pod/app/memory.current", "1000000\n");
  Write("kube/pod/app/memory.stat", "anon 5\nfile 400000\ninactive_file 300000\nactive_file 1\n");
  Write("kube/pod/app/memory.max", "max\n");
  Write("kube/pod/memory.max", "2000000\n");
  Write("kube/memory.max", "3000000\n");
  CgroupMemory memory = Read("0::/kube/pod/app\n", kVersion2Mount);
  EXPECT_EQ(memory.usage_bytes.value, 1000000u);
  EXPECT_EQ(memory.working_set_bytes.value, 700000u);
  EXPECT_TRUE(memory.limit_bytes.known);
  EXPECT_EQ(memory.limit_bytes.value, 2000000u);
}

TEST_F(CgroupMemoryTest, NoLimitIsAbsent) {
  Write("app/memory.current", "1000000\n");
  Write("app/memory.max", "max\n");
  CgroupMemory memory = Read("0::/app\n", kVersion2Mount);
  EXPECT_TRUE(memory.usage_bytes.known);
  EXPECT_FALSE(memory.working_set_bytes.known);
  EXPECT_FALSE(memory.limit_bytes.known);
}

TEST_F(CgroupMemoryTest, WorkingSetIsNeverNegative) {
  Write("memory.current", "1000\n");
  Write("memory.stat", "inactive_file 2000\n");
  EXPECT_EQ(Read("0::/\n", kVersion2Mount).working_set_bytes.value, 0u);
  EXPECT_TRUE(Read("0::/\n", kVersion2Mount).working_set_bytes.known);
}

TEST_F(CgroupMemoryTest, DockerWithItsOwnCgroupNamespace) {
  Write("memory.current", "1000\n");
  Write("memory.max", "5000\n");
  CgroupMemory memory = Read("0::/\n", "600 590 0:26 / @ ro,nosuid - cgroup2 cgroup rw,nsdelegate\n");
  EXPECT_EQ(memory.limit_bytes.value, 5000u);
}

TEST_F(CgroupMemoryTest, DockerThatMountsOnlyThePartOfTheProcess) {
  Write("memory/memory.usage_in_bytes", "1000\n");
  Write("memory/memory.limit_in_bytes", "4000\n");
  Write("memory/memory.stat", "cache 1\nhierarchical_memory_limit 3000\ninactive_file 7\ntotal_inactive_file 200\n");
  CgroupMemory memory = Read("5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n",
                             "700 690 0:30 /docker/abc @/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
                             "701 690 0:31 /docker/abc @/memory ro master:15 - cgroup cgroup rw,memory\n");
  EXPECT_EQ(memory.usage_bytes.value, 1000u);
  EXPECT_EQ(memory.working_set_bytes.value, 800u);
  EXPECT_EQ(memory.limit_bytes.value, 3000u);
}

TEST_F(CgroupMemoryTest, Version1WithoutALimit) {
  Write("memory/a/b/memory.usage_in_bytes", "1000\n");
  Write("memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  Write("memory/a/b/memory.stat", "hierarchical_memory_limit 9223372036854771712\ntotal_inactive_file 0\n");
  CgroupMemory memory =
      Read("4:memory:/a/b\n", "35 31 0:32 / @/memory rw,relatime shared:12 - cgroup cgroup rw,memory\n");
  EXPECT_EQ(memory.usage_bytes.value, 1000u);
  EXPECT_FALSE(memory.limit_bytes.known);
}

TEST_F(CgroupMemoryTest, HybridReadsTheVersionThatHasTheController) {
  Write("memory/app/memory.usage_in_bytes", "1000\n");
  Write("unified/app/cgroup.procs", "1\n");
  CgroupMemory memory = Read("4:memory:/app\n1:name=systemd:/app\n0::/app\n",
                             "35 31 0:32 / @/memory rw - cgroup cgroup rw,memory\n"
                             "41 31 0:38 / @/unified rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(memory.usage_bytes.value, 1000u);
  // The controller moved to version 2, its old folder is still mounted.
  Write("unified/app/memory.current", "2000\n");
  memory = Read("0::/app\n",
                "35 31 0:32 / @/memory rw - cgroup cgroup rw,memory\n"
                "41 31 0:38 / @/unified rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(memory.usage_bytes.value, 2000u);
}

TEST_F(CgroupMemoryTest, MountThatShowsTheProcessWinsOverOneThatDoesNot) {
  Write("other/memory.current", "1\n");
  Write("mine/memory.current", "2\n");
  CgroupMemory memory = Read("0::/pods/me\n",
                             "50 1 0:26 /pods/you @/other rw - cgroup2 cgroup2 rw\n"
                             "51 1 0:26 /pods/me @/mine rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(memory.usage_bytes.value, 2u);
}

TEST_F(CgroupMemoryTest, PathsMayHoldBlanksAndColons) {
  Write("with blank/a:b/memory.current", "3\n");
  CgroupMemory memory = Read("0::/a:b\n", "50 1 0:26 / @/with\\040blank rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(memory.usage_bytes.value, 3u);
}

TEST_F(CgroupMemoryTest, NoCgroupAndOddLinesGiveNothing) {
  EXPECT_FALSE(Read("", "").usage_bytes.known);
  EXPECT_FALSE(Read("0::/app\n", "").usage_bytes.known);
  EXPECT_FALSE(Read("", kVersion2Mount).usage_bytes.known);
  EXPECT_FALSE(Read("0\n:\n::\nx:memory\n4:memory:\n", "36 35\n- -\n1 2 3 4 5 6 - cgroup\n").usage_bytes.known);
  std::string longer_than_any_path = "0::/" + std::string(5000, 'p') + "\n";
  EXPECT_FALSE(Read(longer_than_any_path, kVersion2Mount).usage_bytes.known);
}

}  // namespace
}  // namespace leakshim
