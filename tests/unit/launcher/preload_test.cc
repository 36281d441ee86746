#include "leakshim/preload.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test_files.h"

namespace leakshim {
namespace {

using ::testing::HasSubstr;

using PreloadTest = FilesTest;

TEST(PreloadListTest, OursThenTheAllocatorThenWhatWasThere) {
  EXPECT_EQ(PreloadList("/x/libleakshim.so", "", ""), "/x/libleakshim.so");
  EXPECT_EQ(PreloadList("/x/libleakshim.so", "/y/libjemalloc.so.2", "libfaketime.so.1 /z/b.so"),
            "/x/libleakshim.so:/y/libjemalloc.so.2:libfaketime.so.1:/z/b.so");
}

TEST(PreloadListTest, NobodyIsLoadedTwice) {
  EXPECT_EQ(PreloadList("/x/libleakshim.so", "/y/libjemalloc.so.2",
                        "/x/libleakshim.so:/old/libleakshim.so::libleakshim.so /y/libjemalloc.so.2"),
            "/x/libleakshim.so:/y/libjemalloc.so.2");
}

TEST_F(PreloadTest, LibraryIsFoundBesideTheProgramFirst) {
  std::filesystem::create_directories(Path("bin"));
  std::filesystem::create_directories(Path("lib/" LEAKSHIM_MULTIARCH));
  EXPECT_THAT(FindLibrary(Path("bin"), "").status().message(), HasSubstr("neither beside leakshim"));
  std::string multiarch = Write("lib/" LEAKSHIM_MULTIARCH "/libleakshim.so", "");
  EXPECT_EQ(*FindLibrary(Path("bin"), ""), multiarch);
  std::string lib = Write("lib/libleakshim.so", "");
  EXPECT_EQ(*FindLibrary(Path("bin"), ""), lib);
  std::string beside = Write("bin/libleakshim.so", "");
  EXPECT_EQ(*FindLibrary(Path("bin"), ""), beside);
}

TEST_F(PreloadTest, NamedLibraryMustExist) {
  EXPECT_EQ(*FindLibrary("/none", Write("other.so", "")), Path("other.so"));
  EXPECT_THAT(FindLibrary("/none", Path("missing.so")).status().message(), HasSubstr("missing.so"));
}

TEST_F(PreloadTest, PathThatTheLoaderWouldCutIsRefused) {
  EXPECT_THAT(FindLibrary("/none", Write("a b.so", "")).status().message(), HasSubstr("blank or a colon"));
  EXPECT_THAT(FindLibrary("/none", Write("a:b.so", "")).status().message(), HasSubstr("blank or a colon"));
}

TEST(FindAllocatorTest, DebiansFilesAreFound) {
  EXPECT_THAT(*FindAllocator("jemalloc"), HasSubstr("/libjemalloc.so.2"));
  EXPECT_THAT(*FindAllocator("tcmalloc"), HasSubstr("/libtcmalloc_minimal.so.4"));
  EXPECT_THAT(*FindAllocator("mimalloc"), HasSubstr("/libmimalloc.so.2"));
  EXPECT_THAT(FindAllocator("hoard").status().message(), HasSubstr("found 'hoard'"));
}

}  // namespace
}  // namespace leakshim
