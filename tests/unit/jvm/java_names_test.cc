#include "jvm/java_names.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace leakshim {
namespace {

Slice Of(const char* text) {
  return {text, strlen(text)};
}

std::string ClassOf(const char* symbol) {
  Frame frame = JavaNames::Intern(Of(symbol), Of("run"), Of("A.java"), 1, JavaKind::kCompiled);
  return JavaNames::Get(frame)->class_name;
}

TEST(JavaNamesTest, EqualNamesAreOneFrameAndOthersAreNot) {
  Frame a = JavaNames::Intern(Of("java/util/Map$Entry"), Of("get"), Of("Map.java"), 42, JavaKind::kInterpreted);
  EXPECT_EQ(a, JavaNames::Intern(Of("java/util/Map$Entry"), Of("get"), Of("Map.java"), 42, JavaKind::kInterpreted));
  std::set<Frame> frames{
      a,
      JavaNames::Intern(Of("java/util/Map"), Of("get"), Of("Map.java"), 42, JavaKind::kInterpreted),
      JavaNames::Intern(Of("java/util/Map$Entry"), Of("put"), Of("Map.java"), 42, JavaKind::kInterpreted),
      JavaNames::Intern(Of("java/util/Map$Entry"), Of("get"), Of(""), 42, JavaKind::kInterpreted),
      JavaNames::Intern(Of("java/util/Map$Entry"), Of("get"), Of("Map.java"), 43, JavaKind::kInterpreted),
      JavaNames::Intern(Of("java/util/Map$Entry"), Of("get"), Of("Map.java"), 42, JavaKind::kInlined)};
  EXPECT_EQ(frames.size(), 6u);
  for (Frame frame : frames) {
    EXPECT_TRUE(IsJavaFrame(frame));
    EXPECT_EQ(frame % 2, 0u);
    EXPECT_LE(frame, 0x7fff'ffff'ffff'ffffu);
  }
  EXPECT_STREQ(JavaNames::Get(a)->class_name, "java.util.Map$Entry");
  EXPECT_STREQ(JavaNames::Get(a)->method, "get");
  EXPECT_STREQ(JavaNames::Get(a)->file, "Map.java");
  EXPECT_EQ(JavaNames::Get(a)->line, 42);
}

TEST(JavaNamesTest, HiddenClassesLoseWhatTellsThemApart) {
  EXPECT_EQ(ClassOf("demo/Main$$Lambda$14+0x00000008000c8000"), "demo.Main$$Lambda$14");
  EXPECT_EQ(ClassOf("demo/Main$$Lambda+0x0000728a00c8000"), "demo.Main$$Lambda");
  EXPECT_EQ(ClassOf("java/lang/invoke/LambdaForm$MH/1234567"), "java.lang.invoke.LambdaForm$MH");
  EXPECT_EQ(ClassOf("a/b/C2"), "a.b.C2");
  EXPECT_EQ(ClassOf("Plain"), "Plain");
}

TEST(JavaNamesTest, LongNamesAreCutNotLost) {
  std::string name(70'000, 'x');
  Frame frame = JavaNames::Intern({name.data(), name.size()}, Of("m"), Of(""), 0, JavaKind::kCompiled);
  ASSERT_NE(frame, 0u);
  EXPECT_EQ(name.find(JavaNames::Get(frame)->class_name), 0u);
  EXPECT_GE(strlen(JavaNames::Get(frame)->class_name), 256u);
}

TEST(JavaNamesTest, ThreadsAgreeOnFrames) {
  std::vector<std::vector<Frame>> seen(4);
  std::vector<std::thread> threads;
  for (auto& frames : seen) {
    threads.emplace_back([&frames] {
      for (int i = 0; i < 2000; i++) {
        std::string name = "pkg/Class" + std::to_string(i);
        frames.push_back(JavaNames::Intern({name.data(), name.size()}, Of("m"), Of("F.java"), i, JavaKind::kCompiled));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (auto& frames : seen) {
    for (int i = 0; i < 2000; i++) {
      const JavaName* name = JavaNames::Get(frames[static_cast<size_t>(i)]);
      ASSERT_NE(name, nullptr);
      EXPECT_EQ(name->class_name, "pkg.Class" + std::to_string(i));
      EXPECT_EQ(name->line, i);
    }
  }
}

TEST(JavaNamesTest, NothingIsKnownOfOtherFrames) {
  EXPECT_EQ(JavaNames::Get(0), nullptr);
  EXPECT_EQ(JavaNames::Get(NativeFrame(0x1234, 1)), nullptr);
  EXPECT_EQ(JavaNames::Get(kJavaFrameBit | 0x3ffffffe), nullptr);
}

}  // namespace
}  // namespace leakshim
