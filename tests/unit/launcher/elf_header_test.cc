#include "leakshim/elf_header.h"

#include "elf_bytes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test_files.h"

namespace leakshim {
namespace {

using ElfHeaderTest = FilesTest;

TEST_F(ElfHeaderTest, OwnProgramHasAnInterpreterThatExists) {
  absl::StatusOr<ElfHeader> header = ReadElfHeader("/proc/self/exe");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->bits, 64);
  EXPECT_EQ(header->machine, EM_X86_64);
  EXPECT_TRUE(std::filesystem::exists(header->interpreter)) << header->interpreter;
}

TEST_F(ElfHeaderTest, InterpreterIsReadToItsEnd) {
  std::string path = Write("musl", ElfBytes{.interpreter = "/lib/ld-musl-x86_64.so.1"}.Build());
  EXPECT_EQ(ReadElfHeader(path)->interpreter, "/lib/ld-musl-x86_64.so.1");
}

TEST_F(ElfHeaderTest, StaticProgramHasNoInterpreter) {
  absl::StatusOr<ElfHeader> header = ReadElfHeader(Write("static", ElfBytes().Build()));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->interpreter, "");
}

TEST_F(ElfHeaderTest, OtherKindsOfMachineAreTold) {
  EXPECT_EQ(ReadElfHeader(Write("i386", ElfBytes{.elf_class = ELFCLASS32, .machine = EM_386}.Build()))->bits, 32);
  EXPECT_EQ(ReadElfHeader(Write("arm", ElfBytes{.machine = EM_AARCH64}.Build()))->machine, EM_AARCH64);
  EXPECT_EQ(ReadElfHeader(Write("s390", ElfBytes{.byte_order = ELFDATA2MSB}.Build()))->machine, 0);
}

TEST_F(ElfHeaderTest, EveryCutIsAnError) {
  std::string whole = ElfBytes{.interpreter = "/lib64/ld-linux-x86-64.so.2"}.Build();
  for (size_t length = 0; length < whole.size(); length++) {
    std::string path = Write("cut", whole.substr(0, length));
    EXPECT_TRUE(absl::IsInvalidArgument(ReadElfHeader(path).status())) << length;
  }
}

TEST_F(ElfHeaderTest, InterpreterLongerThanAnyPathIsAnError) {
  std::string path = Write("long", ElfBytes{.interpreter = std::string(5000, 'x')}.Build());
  EXPECT_TRUE(absl::IsInvalidArgument(ReadElfHeader(path).status()));
}

TEST_F(ElfHeaderTest, TextIsNoElf) {
  EXPECT_TRUE(absl::IsInvalidArgument(ReadElfHeader(Write("text", "#!/bin/sh\necho a line\n")).status()));
}

TEST_F(ElfHeaderTest, MissingFileIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(ReadElfHeader(Path("none")).status()));
}

}  // namespace
}  // namespace leakshim
