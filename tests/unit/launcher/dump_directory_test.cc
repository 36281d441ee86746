#include "leakshim/dump_directory.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test_files.h"

namespace leakshim {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

using DumpDirectoryTest = FilesTest;

TEST_F(DumpDirectoryTest, RelativePathStartsHere) {
  EXPECT_EQ(AbsolutePath("a/../b/%p"), std::filesystem::current_path().string() + "/b/%p");
  EXPECT_EQ(AbsolutePath("/srv//app"), "/srv/app");
}

TEST_F(DumpDirectoryTest, MissingFoldersAreMade) {
  EXPECT_TRUE(PrepareDumpDirectory(Path("a/b/leakshim")).ok());
  EXPECT_TRUE(std::filesystem::is_directory(Path("a/b")));
  EXPECT_FALSE(std::filesystem::exists(Path("a/b/leakshim")));
}

TEST_F(DumpDirectoryTest, FoldersNamedForTheProcessAreLeftToTheLibrary) {
  EXPECT_TRUE(PrepareDumpDirectory(Path("a/x%e/%p/leakshim")).ok());
  EXPECT_TRUE(std::filesystem::is_directory(Path("a")));
  EXPECT_TRUE(std::filesystem::is_empty(Path("a")));
}

TEST_F(DumpDirectoryTest, FileInThePlaceOfAFolderIsAnError) {
  absl::Status status = PrepareDumpDirectory(Write("file", "") + "/leakshim");
  EXPECT_THAT(std::string(status.message()), StartsWith("cannot make the dump directory " + Path("file")));
  EXPECT_THAT(status.message(), HasSubstr("-o"));
}

TEST_F(DumpDirectoryTest, DirectoryThatTakesNoFilesIsAnError) {
  // Not even root can create a file in /proc.
  EXPECT_THAT(PrepareDumpDirectory("/proc/leakshim").message(), HasSubstr("/proc"));
}

}  // namespace
}  // namespace leakshim
