#include "jvm/code_cache.h"

#include <gtest/gtest.h>

#include <cstddef>

namespace leakshim::vm {
namespace {

// What a known stack keeps of the code that its frames return to. Laid out as a VM of our own would.
class AddBlobTest : public testing::Test {
 protected:
  struct Block {
    uint64_t length;
    uint8_t used;
    uint8_t padding[7];
    uintptr_t name;
    int32_t bytes, frame_words;
    int32_t unused, compile_id;
  };
  static constexpr size_t kHeaderBytes = offsetof(Block, name);

  AddBlobTest() {
    auto offset = [](size_t of_block) { return static_cast<int64_t>(of_block - kHeaderBytes); };
    vm_.heap_block_bytes = kHeaderBytes;
    vm_.heap_block_used = offsetof(Block, used);
    vm_.blob_name = offset(offsetof(Block, name));
    vm_.blob_bytes = offset(offsetof(Block, bytes));
    vm_.blob_frame_words = offset(offsetof(Block, frame_words));
    vm_.nmethod_compile_id = offset(offsetof(Block, compile_id));
    block_ = {4, 1, {}, 0x1000, 64, 6, 0, 77};
  }

  void Keep(Blob::Kind kind) {
    Blob blob{};
    blob.kind = kind;
    blob.address = reinterpret_cast<uintptr_t>(&block_) + kHeaderBytes;
    AddBlob(vm_, blob, &list_);
  }
  template <typename Change>
  bool HoldsAfter(Change change) {
    Block kept = block_;
    change();
    bool holds = StillTrue(list_.findings(), list_.count());
    block_ = kept;
    return holds;
  }

  VmStructs vm_{};
  Block block_{};
  Finding findings_[8];
  FindingList list_{findings_, 8, 0};
};

TEST_F(AddBlobTest, CompiledCodeIsToldByItsId) {
  Keep(Blob::kCompiled);
  ASSERT_TRUE(list_.complete());
  EXPECT_TRUE(HoldsAfter([] {}));
  EXPECT_FALSE(HoldsAfter([&] { block_.compile_id++; }));
  EXPECT_FALSE(HoldsAfter([&] { block_.used = 0; })) << "freed, and its id still there";
}

TEST_F(AddBlobTest, StubsByWhatLeadsOverThem) {
  Keep(Blob::kStub);
  ASSERT_TRUE(list_.complete());
  EXPECT_TRUE(HoldsAfter([&] { block_.compile_id++; }));
  EXPECT_FALSE(HoldsAfter([&] { block_.name++; }));
  EXPECT_FALSE(HoldsAfter([&] { block_.bytes++; }));
  EXPECT_FALSE(HoldsAfter([&] { block_.frame_words++; }));
  EXPECT_FALSE(HoldsAfter([&] { block_.used = 0; }));
}

TEST_F(AddBlobTest, WhatHasNoIdOfItsOwnIsNotKept) {
  block_.compile_id = 0;
  Keep(Blob::kNative);
  EXPECT_FALSE(list_.complete());
}

}  // namespace
}  // namespace leakshim::vm
