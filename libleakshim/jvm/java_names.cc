#include "jvm/java_names.h"

#include <cstring>

#include "os/arena.h"
#include "os/intern_table.h"

namespace leakshim {
namespace {

struct Text {
  uint64_t hash;
  size_t bytes;
  char text[];  // with a NUL
};

constinit Arena arena{64 << 10};
constinit InternTable<Text, 1024, 16, 1024, 1024> texts;
constinit InternTable<JavaName, 1024, 16, 1024, 1024> names;
constinit Atomic<Frame> unknown{0};

constexpr uint64_t kMultiplier = 0xd6e8feb86659fd93u;

// What is kept of a class or method name. Longer ones are cut: the VM's limit is 64 KiB, and there is one buffer's
// worth of stack here.
constexpr size_t kMostBytes = 400;

const char* InternText(const char* text, size_t bytes) {
  uint64_t hash = bytes;
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ static_cast<unsigned char>(text[i])) * kMultiplier;
  hash ^= hash >> 32;
  uint32_t id = texts.Intern(
      hash,
      [&](const Text& there) {
        return there.hash == hash && there.bytes == bytes && memcmp(there.text, text, bytes) == 0;
      },
      [&]() -> const Text* {
        auto* fresh = static_cast<Text*>(arena.Allocate(sizeof(Text) + bytes + 1));
        if (fresh == nullptr) return nullptr;
        fresh->hash = hash;
        fresh->bytes = bytes;
        memcpy(fresh->text, text, bytes);
        return fresh;
      });
  return id == 0 ? nullptr : texts.Get(id)->text;
}

bool IsDigits(Slice slice) {
  for (size_t i = 0; i < slice.bytes; i++) {
    if (slice.text[i] < '0' || slice.text[i] > '9') return false;
  }
  return slice.bytes > 0;
}

// Without what tells hidden classes of one source apart: "+0x00007f..." (JDK 15 on), "/1234567" (before).
Slice WithoutHiddenSuffix(Slice symbol) {
  for (size_t i = 0; i + 3 < symbol.bytes; i++) {
    if (memcmp(symbol.text + i, "+0x", 3) == 0) return {symbol.text, i};
  }
  size_t slash = FindLast(symbol, '/');
  if (slash < symbol.bytes && IsDigits(Rest(symbol, slash + 1))) return {symbol.text, slash};
  return symbol;
}

const char* InternClass(Slice symbol) {
  symbol = WithoutHiddenSuffix(symbol);
  char dotted[kMostBytes];
  size_t bytes = symbol.bytes < sizeof(dotted) ? symbol.bytes : sizeof(dotted);
  for (size_t i = 0; i < bytes; i++) dotted[i] = symbol.text[i] == '/' ? '.' : symbol.text[i];
  return InternText(dotted, bytes);
}

const char* InternCut(Slice slice) {
  return InternText(slice.text, slice.bytes < kMostBytes ? slice.bytes : kMostBytes);
}

}  // namespace

const char* JavaKindText(JavaKind kind) {
  static constexpr const char* kTexts[] = {"interpreted", "compiled", "inlined", "native", "compiling", "unknown"};
  return kTexts[static_cast<int>(kind)];
}

Frame JavaNames::Intern(Slice class_symbol, Slice method, Slice file, int32_t line, JavaKind kind) {
  JavaName name{InternClass(class_symbol), InternCut(method), InternCut(file), line, kind};
  if (name.class_name == nullptr || name.method == nullptr || name.file == nullptr) return 0;
  // Texts are one for each content, so their addresses stand for them.
  uint64_t hash = reinterpret_cast<uintptr_t>(name.class_name);
  hash = (hash ^ hash >> 32 ^ reinterpret_cast<uintptr_t>(name.method)) * kMultiplier;
  hash = (hash ^ hash >> 32 ^ reinterpret_cast<uintptr_t>(name.file)) * kMultiplier;
  hash = (hash ^ hash >> 32 ^ static_cast<uint32_t>(line) ^ uint64_t{static_cast<uint8_t>(kind)} << 32) * kMultiplier;
  hash ^= hash >> 32;
  uint32_t id = names.Intern(
      hash,
      [&](const JavaName& there) {
        return there.class_name == name.class_name && there.method == name.method && there.file == name.file &&
               there.line == name.line && there.kind == name.kind;
      },
      [&]() -> const JavaName* {
        auto* fresh = static_cast<JavaName*>(arena.Allocate(sizeof(JavaName)));
        if (fresh != nullptr) *fresh = name;
        return fresh;
      });
  return id == 0 ? 0 : kJavaFrameBit | Frame{id} * 2;
}

Frame JavaNames::Unknown() {
  Frame frame = unknown.load(std::memory_order_relaxed);
  if (frame == 0) {
    frame = Intern({"", 0}, {"", 0}, {"", 0}, 0, JavaKind::kUnknown);
    // relaxed: the value is the same for everybody; what it stands for was published by the table.
    unknown.store(frame, std::memory_order_relaxed);
  }
  return frame;
}

const JavaName* JavaNames::Get(Frame frame) {
  return IsJavaFrame(frame) ? names.Get(static_cast<uint32_t>((frame & ~kJavaFrameBit) / 2)) : nullptr;
}

void JavaNames::ResetForTesting() {
  names.ResetForTesting();
  texts.ResetForTesting();
  unknown.store(0);
  arena.ForgetForTesting();
}

}  // namespace leakshim
