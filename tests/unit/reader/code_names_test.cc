#include "symbolize/code_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parsed.h"

namespace leakshim {
namespace {

// Knows one name for everything, and remembers what it was asked.
class KnowsAll : public Symbolizer {
 public:
  std::vector<SourceFrame> Symbolize(const CodePlace& place) override {
    asked = place;
    return {SourceFrame{.function = "private_name", .file = "a.c", .line = 7}};
  }
  std::vector<std::string> TakeWarnings() override { return {}; }
  CodePlace asked;
};

std::string NameOf(const std::string& body, Symbolizer* symbolizer = nullptr, bool recorded = true) {
  const auto profile = Parsed("heap_v2/0\n# leakshim 1\n" + body + "  t*: 1: 1 [0: 0]\n");
  ProfileSum sum({});
  sum.Add(*profile);
  CodeNames names(sum, symbolizer, recorded);
  return names.Of(sum.StackLocations(sum.stacks().at(0)).back()).functions.at(0).function;
}

constexpr char kModule[] = "# module 1 ab 0x1000 0x9000 0x1000 /lib/libz.so.1\n";

TEST(CodeNamesTest, WithoutAnyNameItIsTheFileAndTheOffset) {
  EXPECT_EQ(NameOf(absl::StrCat(kModule, "@ 0x1234\n")), "libz.so.1+0x234");
}

TEST(CodeNamesTest, TheDumpsOwnNameHelpsWhereTheBinaryIsMissing) {
  EXPECT_EQ(NameOf(absl::StrCat(kModule, "# pc 0x1234 1 0x234 _ZN3abc3defEi+0x10\n@ 0x1234\n")), "abc::def(int)");
}

TEST(CodeNamesTest, AnExportedNameIsPreferredToAPrivateOneForTheSamePlace) {
  KnowsAll binary;
  const std::string body = absl::StrCat(kModule, "# pc 0x1234 1 0x234 exported+0x10\n@ 0x1234\n");
  EXPECT_EQ(NameOf(body, &binary), "exported");
  EXPECT_EQ(NameOf(body, &binary, false), "private_name");
  EXPECT_EQ(NameOf(absl::StrCat(kModule, "@ 0x1234\n"), &binary), "private_name");
}

TEST(CodeNamesTest, TheSymbolizerIsAskedForTheElfAddressOfTheCall) {
  KnowsAll binary;
  NameOf(absl::StrCat(kModule, "@ 0x1100 0x1235\n"), &binary);
  EXPECT_EQ(binary.asked.path, "/lib/libz.so.1");
  EXPECT_EQ(binary.asked.build_id, "ab");
  EXPECT_EQ(binary.asked.offset, 0x234u);  // one before the return address
  EXPECT_TRUE(binary.asked.is_elf_address);
}

// dlclose and dlopen may give one address to two modules; the frame says which one it was.
TEST(CodeNamesTest, TheFramesModuleDecidesBetweenTwoAtOneAddress) {
  const std::string body =
      "# module 1 ab 0x1000 0x9000 0x1000 /lib/old.so\n# module 2 cd 0x1000 0x9000 0x1000 /lib/new.so\n"
      "# pc 0x1234 1 0x234 old_name+0x1\n# pc 0x1234 2 0x234 new_name+0x1\n@ 0x1234\n";
  const auto name = [&](const char* modules) {
    const auto profile = Parsed(absl::StrCat("heap_v2/0\n# leakshim 1\n", body, "  t*: 1: 1 [0: 0]\n", modules));
    ProfileSum sum({});
    sum.Add(*profile);
    CodeNames names(sum, nullptr, true);
    return names.Of(sum.StackLocations(sum.stacks().at(0)).front()).functions.at(0).function;
  };
  EXPECT_EQ(name("# modules 1\n"), "old_name");
  EXPECT_EQ(name("# modules 2\n"), "new_name");
}

TEST(CodeNamesTest, JavaFramesHaveTheirOwnNames) {
  const std::string java = "# java 0x4000000000000004 compiled com.example.Cache put 41 Cache.java\n";
  EXPECT_EQ(NameOf(java + "@ 0x4000000000000004\n"), "com.example.Cache.put");
  EXPECT_EQ(NameOf(java + "@ 0x10 0x4000000000000004\n"), "com.example.Cache.put");  // as a caller
}

SourceFrame JavaFrameOf(const std::string& fields) {
  const auto profile = Parsed("heap_v2/0\n# leakshim 1\n@ 0x4000000000000004\n  t*: 1: 1 [0: 0]\n" +
                              (fields.empty() ? "" : "# java 0x4000000000000004 " + fields + "\n"));
  ProfileSum sum({});
  sum.Add(*profile);
  CodeNames names(sum, nullptr, true);
  return names.Of(0).functions.at(0);
}

TEST(CodeNamesTest, AJavaFrameTellsItsPlaceAndHowItRan) {
  const SourceFrame frame = JavaFrameOf("inlined com.example.Cache <init> 41 Cache.java");
  EXPECT_EQ(ShownName(frame), "com.example.Cache.<init>");  // not as C++'s templates are shown
  EXPECT_EQ(FileLine(frame), "Cache.java:41");
  EXPECT_EQ(frame.kind, "inlined");
}

TEST(CodeNamesTest, WhatIsNotKnownOfAJavaFrameIsNotMadeUp) {
  const SourceFrame native = JavaFrameOf("native com.example.Zip init 0 Zip.java");
  EXPECT_EQ(FileLine(native), "Zip.java");
  EXPECT_EQ(JavaFrameOf("compiled com.example.Main$$Lambda$14 run 0 -").file, "");
  for (const char* fields : {"unknown - - 0 -", "interpreted - - 0 -", ""}) {
    EXPECT_EQ(ShownName(JavaFrameOf(fields)), "[java]") << fields;
    EXPECT_EQ(JavaFrameOf(fields).kind, "") << fields;
  }
}

TEST(CodeNamesTest, ACompilerThreadNamesWhatItCompiles) {
  const SourceFrame frame = JavaFrameOf("compiling com.example.Cache put 0 -");
  EXPECT_EQ(ShownName(frame), "[compiling] com.example.Cache.put");
  EXPECT_EQ(frame.kind, "");
}

TEST(CodeNamesTest, SymbolizedProfilesNameJavaFramesAsLeafAndAsCaller) {
  for (const char* listed : {"0x4000000000000003", "0x4000000000000004"}) {
    for (const char* stack : {"@ 0x4000000000000004\n", "@ 0x10 0x4000000000000004\n"}) {
      const auto profile = Parsed(absl::StrCat("--- symbol\n", listed, " a.B.[init]\n---\n--- heap\nheap_v2/0\n", stack,
                                               "  t*: 1: 1 [0: 0]\n"));
      ProfileSum sum({});
      sum.Add(*profile);
      CodeNames names(sum, nullptr, true);
      EXPECT_EQ(names.Of(sum.StackLocations(sum.stacks().at(0)).back()).functions.at(0).function, "a.B.[init]")
          << listed << stack;
    }
  }
}

TEST(CodeNamesTest, CodeCompiledAtRunTimeHasTheNameThatTheDumpRecorded) {
  const std::string name = NameOf("# pc 0x1234 0 0x0 JS:*leak%20it+more (/a b.js:3:5)+0x34\n@ 0x1234\n");
  EXPECT_EQ(name, "JS:*leak%20it+more (/a b.js:3:5)");
}

TEST(CodeNamesTest, CodeOfNoModuleSaysSo) {
  EXPECT_EQ(NameOf("@ 0x1234\n"), "[unknown code] 0x0000000000001234");
}

}  // namespace
}  // namespace leakshim
