#include "jvm/java_method.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace leakshim::vm {
namespace {

// The encoding as HotSpot's writers do it, from the definition: digits of 6 bits, the rest in the next byte.
void PutUnsigned5(std::vector<uint8_t>* out, uint32_t value, uint8_t bias) {
  const uint32_t low_codes = 192u - bias;
  for (int i = 0; i < 4 && value >= low_codes; i++) {
    value -= low_codes;
    out->push_back(static_cast<uint8_t>(bias + low_codes + value % 64));
    value /= 64;
  }
  out->push_back(static_cast<uint8_t>(bias + value));
}

uint32_t Signed(int32_t value) {
  return static_cast<uint32_t>(value) << 1 ^ static_cast<uint32_t>(value >> 31);
}

// A line table as CompressedLineNumberWriteStream makes it.
class LineTable {
 public:
  explicit LineTable(uint8_t bias) : bias_(bias) {}
  LineTable& Add(int32_t bci, int32_t line) {
    int32_t bci_delta = bci - bci_, line_delta = line - line_;
    bool is_short = bci_delta >= 0 && bci_delta < 32 && line_delta >= 0 && line_delta < 8;
    int byte = bci_delta << 3 | line_delta;
    if (is_short && byte != 0 && byte != 0xff) {
      bytes_.push_back(static_cast<uint8_t>(byte));
    } else {
      bytes_.push_back(0xff);
      PutUnsigned5(&bytes_, Signed(bci_delta), bias_);
      PutUnsigned5(&bytes_, Signed(line_delta), bias_);
    }
    bci_ = bci;
    line_ = line;
    return *this;
  }
  // `told_bytes` gets how much of the table tells the line.
  int32_t Line(int32_t bci, size_t* told_bytes = nullptr) {
    std::vector<uint8_t> ended = bytes_;
    ended.push_back(0);
    auto at = reinterpret_cast<uintptr_t>(ended.data());
    uintptr_t told_end;
    int32_t line = LineOfBci(at, at + ended.size(), bci, bias_, &told_end);
    if (told_bytes != nullptr) *told_bytes = told_end - at;
    return line;
  }
  size_t bytes() const { return bytes_.size(); }

 private:
  uint8_t bias_;
  int32_t bci_ = 0, line_ = 0;
  std::vector<uint8_t> bytes_;
};

TEST(Unsigned5Test, EveryNumberComesBack) {
  std::mt19937_64 random(1);
  for (uint8_t bias : {uint8_t{0}, uint8_t{1}}) {
    for (int i = 0; i < 100'000; i++) {
      auto value = static_cast<uint32_t>(random() >> (32 + random() % 32));
      std::vector<uint8_t> bytes;
      PutUnsigned5(&bytes, value, bias);
      auto at = reinterpret_cast<uintptr_t>(bytes.data()), end = at + bytes.size();
      uint32_t read = 0;
      ASSERT_TRUE(TakeUnsigned5(&at, end, bias, &read));
      ASSERT_EQ(read, value);
      ASSERT_EQ(at, end);
      at = reinterpret_cast<uintptr_t>(bytes.data());
      if (bytes.size() > 1) {
        ASSERT_FALSE(TakeUnsigned5(&at, end - 1, bias, &read)) << "a number that is cut";
      }
    }
  }
}

TEST(LineOfBciTest, GivesTheLastLineAtOrBeforeTheBytecode) {
  for (uint8_t bias : {uint8_t{0}, uint8_t{1}}) {
    LineTable table(bias);
    table.Add(0, 100).Add(4, 101).Add(9, 99).Add(300, 5000).Add(310, 5001);
    EXPECT_EQ(table.Line(0), 100);
    EXPECT_EQ(table.Line(3), 100);
    EXPECT_EQ(table.Line(4), 101);
    EXPECT_EQ(table.Line(10), 99);
    EXPECT_EQ(table.Line(299), 99);
    EXPECT_EQ(table.Line(305), 5000);
    EXPECT_EQ(table.Line(60'000), 5001);
  }
}

TEST(LineOfBciTest, TablesNeedNotBeOrdered) {
  LineTable table(1);
  table.Add(20, 7).Add(0, 3).Add(10, 5);
  EXPECT_EQ(table.Line(5), 3);
  EXPECT_EQ(table.Line(15), 5);
  EXPECT_EQ(table.Line(25), 7);
}

// Up to the entry behind: one that came between would be the line's. Of a table without order any entry may matter.
TEST(LineOfBciTest, TellsHowMuchOfTheTableTellsTheLine) {
  LineTable table(0);
  table.Add(0, 1);
  size_t told, second = table.Add(4, 2).bytes(), third = table.Add(8, 3).bytes();
  for (auto [bci, bytes] :
       {std::pair<int32_t, size_t>{0, second}, {3, second}, {4, third}, {8, third + 1}, {99, third + 1}}) {
    table.Line(bci, &told);
    EXPECT_EQ(told, bytes) << bci;
  }
  size_t all = table.Add(6, 4).bytes() + 1;
  for (int32_t bci : {0, 5, 99}) {
    table.Line(bci, &told);
    EXPECT_EQ(told, all) << bci;
  }
}

TEST(LineOfBciTest, ACutTableEndsTheSearch) {
  uint8_t bytes[] = {0xff};
  auto at = reinterpret_cast<uintptr_t>(bytes);
  EXPECT_EQ(LineOfBci(at, at + 1, 5, 0), 0);
  EXPECT_EQ(LineOfBci(at, at, 5, 0), 0);
}

// Objects laid out as a VM of our own would: the offsets are arbitrary, the relations are HotSpot's.
class MethodTest : public testing::Test {
 protected:
  struct Symbol {
    uint16_t unused[2];
    uint16_t length;
    char body[58];
  };
  struct Klass {
    uintptr_t unused, name;
  };
  struct Pool {
    uintptr_t unused, holder;
    int32_t length;
    uint16_t source_file, unused2;
    uintptr_t slots[8];
  };
  struct alignas(8) Const {
    uintptr_t pool;
    int32_t words;
    uint16_t flags, code_bytes, name, unused;
    uint8_t code[44];
  };
  struct VmMethod {
    uintptr_t constant;
    uint32_t access, unused;
  };

  MethodTest() {
    vm_.method_const = vm_.const_method_pool = 0;
    vm_.method_access = offsetof(VmMethod, access);
    vm_.const_method_words = offsetof(Const, words);
    vm_.const_method_flags = offsetof(Const, flags);
    vm_.const_method_code_bytes = offsetof(Const, code_bytes);
    vm_.const_method_name = offsetof(Const, name);
    vm_.const_method_bytes = offsetof(Const, code);
    vm_.pool_holder = offsetof(Pool, holder);
    vm_.pool_length = offsetof(Pool, length);
    vm_.pool_source_file = offsetof(Pool, source_file);
    vm_.pool_bytes = offsetof(Pool, slots);
    vm_.klass_name = offsetof(Klass, name);
    vm_.symbol_length = offsetof(Symbol, length);
    vm_.symbol_body = offsetof(Symbol, body);
    vm_.source_file_in_pool = true;
    Set(&class_, "demo/Thing");
    Set(&name_, "work");
    Set(&file_, "Thing.java");
    klass_.name = At(&class_);
    pool_ = {0, At(&klass_), 4, 2, 0, {0, At(&name_), At(&file_), 0}};
    constant_ = {At(&pool_), sizeof(Const) / 8, 1, 4, 1, 0, {0, 0, 0, 0, 0 << 3 | 7, 2 << 3 | 1, 0}};
    method_ = {At(&constant_), 0x1, 0};
  }

  static void Set(Symbol* symbol, const std::string& text) {
    symbol->length = static_cast<uint16_t>(text.size());
    memcpy(symbol->body, text.data(), text.size());
  }
  template <typename T>
  static uintptr_t At(const T* object) {
    return reinterpret_cast<uintptr_t>(object);
  }
  const JavaName* Name(int32_t bci) {
    Method method;
    if (!ReadMethod(vm_, At(&method_), &method)) return nullptr;
    return JavaNames::Get(NameMethodCached(vm_, At(&method_), method, bci, JavaKind::kInterpreted));
  }

  VmStructs vm_{};
  Symbol class_{}, name_{}, file_{};
  Klass klass_{};
  Pool pool_{};
  Const constant_{};
  VmMethod method_{};
};

TEST_F(MethodTest, IsNamedWithFileAndLine) {
  const JavaName* name = Name(3);
  ASSERT_NE(name, nullptr);
  EXPECT_STREQ(name->class_name, "demo.Thing");
  EXPECT_STREQ(name->method, "work");
  EXPECT_STREQ(name->file, "Thing.java");
  EXPECT_EQ(name->line, 8);
  EXPECT_EQ(Name(0)->line, 7);
}

// The same addresses, another class: what class unloading and loading do to a small metaspace.
TEST_F(MethodTest, AnotherMethodAtTheSameAddressHasItsOwnName) {
  EXPECT_STREQ(Name(0)->class_name, "demo.Thing");
  Set(&class_, "demo/Other");
  EXPECT_STREQ(Name(0)->class_name, "demo.Other");
  Set(&name_, "play");
  EXPECT_STREQ(Name(0)->method, "play");
  constant_.code[4] = 0 << 3 | 5;
  EXPECT_EQ(Name(0)->line, 5);
}

// A class that is loaded again or redefined, line by line the same up to where it was changed.
TEST_F(MethodTest, AnotherVersionAtTheSameAddressHasItsOwnLinesAndFile) {
  EXPECT_EQ(Name(3)->line, 8);
  EXPECT_STREQ(Name(3)->file, "Thing.java");
  constant_.code[5] = 2 << 3 | 6;
  EXPECT_EQ(Name(3)->line, 13);
  Set(&file_, "Other.java");
  EXPECT_STREQ(Name(3)->file, "Other.java");
  constant_.flags = 0;
  EXPECT_EQ(Name(3)->line, 0);
  pool_.source_file = 0;
  EXPECT_STREQ(Name(3)->file, "");
  // Behind more lines than fit into a word or two.
  std::vector<uint8_t> lines(20, 1 << 3 | 1);
  lines.push_back(0);
  constant_.flags = 1;
  for (uint8_t last : {uint8_t{1}, uint8_t{2}}) {
    lines[19] = 1 << 3 | last;
    memcpy(constant_.code + 4, lines.data(), lines.size());
    EXPECT_EQ(Name(100)->line, 19 + last);
  }
}

// What a known stack keeps of an interpreted frame.
TEST_F(MethodTest, FindingsHoldAsLongAsItsNameDoes) {
  Method method;
  ASSERT_TRUE(ReadMethod(vm_, At(&method_), &method));
  Finding findings[60];
  FindingList list(findings, 60, 0);
  constexpr int32_t kBci = 2;  // of the second of three lines
  constant_.code[6] = 3 << 3 | 1;
  AddMethod(vm_, At(&method_), method, kBci, &list);
  ASSERT_TRUE(list.complete());
  auto hold = [&] { return StillTrue(list.findings(), list.count()); };
  auto hold_after = [&](auto change) {
    auto kept_method = method_;
    auto kept_constant = constant_;
    auto kept_pool = pool_;
    auto kept_class_symbol = class_, kept_name = name_, kept_file = file_;
    auto kept_klass = klass_;
    change();
    bool still = hold();
    method_ = kept_method, constant_ = kept_constant, pool_ = kept_pool, klass_ = kept_klass;
    class_ = kept_class_symbol, name_ = kept_name, file_ = kept_file;
    return still;
  };
  EXPECT_TRUE(hold_after([] {}));
  Const other_constant = constant_;
  Pool other_pool = pool_;
  Klass other_klass = klass_;
  Symbol other_symbol = name_;
  EXPECT_FALSE(hold_after([&] { method_.constant = At(&other_constant); }));
  EXPECT_FALSE(hold_after([&] { constant_.pool = At(&other_pool); }));
  EXPECT_FALSE(hold_after([&] { constant_.words--; }));
  EXPECT_FALSE(hold_after([&] { constant_.code_bytes--; }));
  EXPECT_FALSE(hold_after([&] { constant_.name = 2; }));
  EXPECT_FALSE(hold_after([&] { constant_.flags = 0; })) << "no line table";
  EXPECT_FALSE(hold_after([&] { constant_.code[4]++; })) << "the first line";
  EXPECT_FALSE(hold_after([&] { constant_.code[5]++; })) << "its own line";
  EXPECT_FALSE(hold_after([&] { constant_.code[6] = 0 << 3 | 1; })) << "the line behind, which begins earlier";
  EXPECT_FALSE(hold_after([&] { pool_.source_file = 1; }));
  EXPECT_FALSE(hold_after([&] { pool_.slots[2] = At(&other_symbol); })) << "another file";
  for (size_t i = 0; i < strlen("Thing.java"); i++) EXPECT_FALSE(hold_after([&] { file_.body[i]++; })) << i;
  EXPECT_FALSE(hold_after([&] { pool_.holder = At(&other_klass); }));
  EXPECT_FALSE(hold_after([&] { pool_.slots[1] = At(&other_symbol); }));
  EXPECT_FALSE(hold_after([&] { klass_.name = At(&other_symbol); }));
  for (size_t i = 0; i < strlen("demo/Thing"); i++) EXPECT_FALSE(hold_after([&] { class_.body[i]++; })) << i;
  for (size_t i = 0; i < strlen("work"); i++) EXPECT_FALSE(hold_after([&] { name_.body[i]++; })) << i;
  EXPECT_FALSE(hold_after([&] { Set(&name_, "workaday"); }));
  EXPECT_FALSE(hold_after([&] { name_.length--; }));
  EXPECT_TRUE(hold());
  // No room for all of it: of no use.
  FindingList small(findings, list.count() - 1, 0);
  AddMethod(vm_, At(&method_), method, kBci, &small);
  EXPECT_FALSE(small.complete());
}

TEST_F(MethodTest, NativeMethodsHaveNoLine) {
  method_.access = 0x101;
  EXPECT_EQ(Name(-1)->line, 0);
  EXPECT_STREQ(Name(-1)->file, "Thing.java");
}

TEST_F(MethodTest, WhatIsNoMethodIsRefused) {
  Method method;
  for (uintptr_t address : {uintptr_t{0}, uintptr_t{8}, At(&method_) + 1, uintptr_t{0x7fff'ffff'f000}, ~uintptr_t{7},
                            uintptr_t{0xdead'beef'0000'0000}}) {
    EXPECT_FALSE(ReadMethod(vm_, address, &method)) << std::hex << address;
  }
  auto refused_with = [&](auto change) {
    auto kept_method = method_;
    auto kept_constant = constant_;
    auto kept_pool = pool_;
    auto kept_klass = klass_;
    change();
    bool read = ReadMethod(vm_, At(&method_), &method);
    method_ = kept_method, constant_ = kept_constant, pool_ = kept_pool, klass_ = kept_klass;
    return !read;
  };
  EXPECT_FALSE(refused_with([] {}));
  EXPECT_TRUE(refused_with([&] { method_.constant = 0x10; }));
  EXPECT_TRUE(refused_with([&] { method_.constant += 4; }));
  EXPECT_TRUE(refused_with([&] { constant_.pool = 1; }));
  EXPECT_TRUE(refused_with([&] { constant_.words = -1; }));
  EXPECT_TRUE(refused_with([&] { constant_.words = 1 << 30; }));
  EXPECT_TRUE(refused_with([&] { constant_.code_bytes = 60'000; }));
  EXPECT_TRUE(refused_with([&] { constant_.name = 0; }));
  EXPECT_TRUE(refused_with([&] { constant_.name = 7; }));
  EXPECT_TRUE(refused_with([&] { pool_.holder = 0x20; }));
  EXPECT_TRUE(refused_with([&] { pool_.slots[1] = 0x30; }));
  EXPECT_TRUE(refused_with([&] { klass_.name = 0; }));
}

}  // namespace
}  // namespace leakshim::vm
