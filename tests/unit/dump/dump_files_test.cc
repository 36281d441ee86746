#include "dump/dump_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "os/message.h"
#include "os/os.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

class DumpFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/leakshim-test-XXXXXX";
    directory_ = mkdtemp(pattern);
  }
  void TearDown() override { fs::remove_all(directory_); }

  static int Write(DumpFiles& files, int pid, uint64_t start, DumpReason reason) {
    int fd = files.Begin(pid, start);
    if (fd < 0) return fd;
    os::WriteAll(fd, "text", 4);
    os::Close(fd);
    return files.Commit(reason);
  }

  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (auto& entry : fs::directory_iterator(directory_)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string directory_;
};

TEST_F(DumpFilesTest, NamesCountAllDumpsAndThoseOfAKind) {
  auto files = std::make_unique<DumpFiles>();
  files->Init((directory_ + "/x").c_str(), 0600, nullptr);
  EXPECT_EQ(Write(*files, 7, 1000, DumpReason::kTime), 0);
  EXPECT_EQ(Write(*files, 7, 1000, DumpReason::kInterval), 0);
  EXPECT_EQ(Write(*files, 7, 1000, DumpReason::kTime), 0);
  EXPECT_EQ(Write(*files, 7, 1000, DumpReason::kRequest), 0);
  EXPECT_EQ(Write(*files, 7, 1000, DumpReason::kFinal), 0);
  EXPECT_THAT(Names(),
              ElementsAre("x.7.0.t0.heap", "x.7.1.i0.heap", "x.7.2.t1.heap", "x.7.3.m0.heap", "x.7.4.f0.heap"));
  EXPECT_EQ(files->written(), 5u);
  EXPECT_EQ(files->path(), directory_ + "/x.7.4.f0.heap");
}

TEST_F(DumpFilesTest, AForkChildCountsFromZeroUnderItsOwnId) {
  auto files = std::make_unique<DumpFiles>();
  files->Init((directory_ + "/x").c_str(), 0600, nullptr);
  Write(*files, 7, 1000, DumpReason::kTime);
  Write(*files, 8, 1001, DumpReason::kTime);
  EXPECT_THAT(Names(), ElementsAre("x.7.0.t0.heap", "x.8.0.t0.heap"));
}

TEST_F(DumpFilesTest, NothingIsEverReplaced) {
  for (int process = 0; process < 4; process++) {
    auto files = std::make_unique<DumpFiles>();
    files->Init((directory_ + "/x").c_str(), 0600, nullptr);
    // The last two even started in the same second.
    for (int i = 0; i < 3; i++) EXPECT_EQ(Write(*files, 1, process < 2 ? 500 : 600, DumpReason::kTime), 0);
  }
  EXPECT_EQ(Names().size(), 12u);
  EXPECT_THAT(Names(), testing::Contains("x.1.500.0.t0.heap"));
  std::ofstream(directory_ + "/y.1.0.t0.heap") << "someone else's";
  auto files = std::make_unique<DumpFiles>();
  files->Init((directory_ + "/y").c_str(), 0600, nullptr);
  EXPECT_EQ(Write(*files, 1, 9, DumpReason::kTime), 0);
  std::string kept;
  std::getline(std::ifstream(directory_ + "/y.1.0.t0.heap"), kept);
  EXPECT_EQ(kept, "someone else's");
}

TEST_F(DumpFilesTest, ModeIsWhatWasAskedForWhateverTheUmask) {
  mode_t before = umask(077);
  auto files = std::make_unique<DumpFiles>();
  files->Init((directory_ + "/x").c_str(), 0640, nullptr);
  Write(*files, 7, 1000, DumpReason::kTime);
  umask(before);
  struct stat status;
  ASSERT_EQ(stat(files->path(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST_F(DumpFilesTest, AnAbandonedDumpLeavesNothing) {
  auto files = std::make_unique<DumpFiles>();
  files->Init((directory_ + "/x").c_str(), 0600, nullptr);
  int fd = files->Begin(7, 1000);
  ASSERT_GE(fd, 0);
  os::Close(fd);
  files->Abandon(-ENOSPC);
  EXPECT_THAT(Names(), ElementsAre());
  EXPECT_EQ(files->failed(), 1u);
  EXPECT_EQ(Write(*files, 7, 1000, DumpReason::kTime), 0);
}

TEST_F(DumpFilesTest, WantOfMemoryIsNotBlamedOnThePlace) {
  auto files = std::make_unique<DumpFiles>();
  files->Init((directory_ + "/x").c_str(), 0600, "/nowhere");
  for (int error : {-ENOMEM, -ENOSPC}) {
    int fd = files->Begin(7, 1000);
    ASSERT_GE(fd, 0);
    os::Close(fd);
    testing::internal::CaptureStderr();
    os::InitMessages();
    files->Abandon(error);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                testing::EndsWith(error == -ENOMEM ? "Out of memory; tried again later\n"
                                                   : "set prof_prefix to a place that can be written\n"));
  }
}

TEST_F(DumpFilesTest, AFolderThatCannotBeMadeIsAnError) {
  std::ofstream(directory_ + "/file") << "in the way";
  auto files = std::make_unique<DumpFiles>();
  files->Init((directory_ + "/file/deeper/x").c_str(), 0600, "/nowhere");
  EXPECT_LT(Write(*files, 7, 1000, DumpReason::kTime), 0);
  EXPECT_EQ(files->failed(), 1u);
}

TEST_F(DumpFilesTest, ALongPrefixIsAnErrorNotAnOverflow) {
  auto files = std::make_unique<DumpFiles>();
  files->Init((directory_ + "/" + std::string(4070, 'x')).c_str(), 0600, nullptr);
  EXPECT_EQ(Write(*files, 7, 1000, DumpReason::kTime), -ENAMETOOLONG);
}

}  // namespace
}  // namespace leakshim
