#include "jvm/java_method.h"

#include <cstring>

#include "jvm/seq_slot.h"
#include "jvm/vm_memory.h"

namespace leakshim::vm {
namespace {

constexpr uint64_t kMultiplier = 0xd6e8feb86659fd93u;
constexpr uint32_t kAccNative = 0x100;

// Where a symbol's length is, in 16 bits.
uintptr_t LengthOfSymbol(const VmStructs& vm, uintptr_t symbol) {
  if (vm.Has(vm.symbol_length)) return symbol + static_cast<uintptr_t>(vm.symbol_length);
  return symbol + static_cast<uintptr_t>(vm.symbol_length_and_refcount) + 2;
}

bool ReadSymbol(const VmStructs& vm, uintptr_t symbol, Slice* text) {
  uint16_t length;
  if (!Read(LengthOfSymbol(vm, symbol), &length)) return false;
  uintptr_t body = symbol + static_cast<uintptr_t>(vm.symbol_body);
  if (length == 0) return false;
  for (uintptr_t at = body; at < body + length; at += kPageBytes) {
    if (!IsReadable(at)) return false;
  }
  if (!IsReadable(body + length - 1u)) return false;
  *text = {reinterpret_cast<const char*>(body), length};
  return true;
}

// The slot of a constant pool with that index. False: it has none.
bool FindPoolSlot(const VmStructs& vm, uintptr_t pool, uint32_t index, uintptr_t* slot) {
  int32_t length;
  if (!Read(pool + static_cast<uintptr_t>(vm.pool_length), &length)) return false;
  *slot = pool + static_cast<uintptr_t>(vm.pool_bytes) + index * 8u;
  return index != 0 && static_cast<int64_t>(index) < length;
}

uint64_t HashText(uint64_t hash, Slice text) {
  while (text.bytes >= 8) {
    uint64_t word;
    __builtin_memcpy(&word, text.text, 8);
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 29;
    text = Rest(text, 8);
  }
  uint64_t word = text.bytes;
  for (size_t i = 0; i < text.bytes; i++) word = word << 8 | static_cast<unsigned char>(text.text[i]);
  hash = (hash ^ word) * kMultiplier;
  return hash ^ hash >> 31;
}

uintptr_t CodeEnd(const VmStructs& vm, const Method& method) {
  return method.const_method + static_cast<uintptr_t>(vm.const_method_bytes) + method.code_bytes;
}

void AddSymbol(const VmStructs& vm, uintptr_t symbol, Slice text, FindingList* list) {
  // The text comes right behind; before JDK 13 with a count of references in between, which changes at times.
  uintptr_t length = LengthOfSymbol(vm, symbol);
  list->AddMemory(length, reinterpret_cast<uintptr_t>(text.text) + text.bytes - length);
}

// Where a method's class was compiled from, and where that was found.
struct Source {
  Slice file;
  uintptr_t index_place, slot, symbol;  // 0: not found
  int32_t line;
  uintptr_t lines, lines_end;  // what of the line table tells the line; nothing where there is none
};

Source ReadSource(const VmStructs& vm, const Method& method, int32_t bci) {
  Source source{{"", 0}, 0, 0, 0, 0, 0, 0};
  uintptr_t place = vm.source_file_in_pool ? method.pool + static_cast<uintptr_t>(vm.pool_source_file)
                                           : method.holder + static_cast<uintptr_t>(vm.klass_source_file);
  uint16_t index, flags;
  uintptr_t slot, symbol;
  if (Read(place, &index)) {
    source.index_place = place;
    if (FindPoolSlot(vm, method.pool, index, &slot) && Read(slot, &symbol) && ReadSymbol(vm, symbol, &source.file)) {
      source.slot = slot;
      source.symbol = symbol;
    }
  }
  constexpr uint16_t kHasLineNumberTable = 1;
  if (method.is_native || bci < 0 ||
      !Read(method.const_method + static_cast<uintptr_t>(vm.const_method_flags), &flags) ||
      (flags & kHasLineNumberTable) == 0) {
    return source;
  }
  source.lines = CodeEnd(vm, method);
  source.line = LineOfBci(source.lines, method.const_method + method.const_method_bytes, bci, vm.unsigned5_bias,
                          &source.lines_end);
  return source;
}

// Hash of all that the name is made of.
uint64_t HashName(const Method& method, const Source& source) {
  return HashText(HashText(HashText(static_cast<uint32_t>(source.line), method.class_symbol), method.name),
                  source.file);
}

// {method, bci << 8 | kind, hash of the name, frame}
constinit SeqCache<4, 4096> cache;

// Whether these bytes can be a name of the class file format: modified UTF-8 without control characters, and none of
// `forbidden`. Source: JVM specification, sections 4.2 and 4.4.7.
bool IsName(Slice text, const char* forbidden) {
  for (size_t i = 0; i < text.bytes;) {
    auto byte = static_cast<unsigned char>(text.text[i]);
    size_t length = byte < 0x80 ? 1 : byte >= 0xc0 && byte < 0xe0 ? 2 : byte >= 0xe0 && byte < 0xf0 ? 3 : 0;
    if (length == 0 || length > text.bytes - i || byte < 0x20 || byte == 0x7f) return false;
    for (size_t j = 1; j < length; j++) {
      if ((static_cast<unsigned char>(text.text[i + j]) & 0xc0) != 0x80) return false;
    }
    for (const char* c = forbidden; *c != 0; c++) {
      if (text.text[i] == *c) return false;
    }
    i += length;
  }
  return text.bytes > 0;
}

Frame NameOf(const Method& method, const Source& source, JavaKind kind) {
  if (!IsName(method.class_symbol, ".;[") || !IsName(method.name, ".;[/")) return 0;
  return JavaNames::Intern(method.class_symbol, method.name, source.file, source.line, kind);
}

}  // namespace

bool TakeUnsigned5(uintptr_t* at, uintptr_t end, uint8_t bias, uint32_t* value) {
  constexpr uint32_t kLast = 192;  // a byte below ends the number, whatever the bias
  uint32_t sum = 0;
  for (unsigned i = 0; i < 5; i++) {
    if (*at >= end || !IsReadable(*at)) return false;
    uint32_t byte = *reinterpret_cast<const uint8_t*>((*at)++);
    if (byte < bias) return false;
    sum += (byte - bias) << (6 * i);
    if (byte < kLast) break;
  }
  *value = sum;
  return true;
}

int32_t LineOfBci(uintptr_t table, uintptr_t end, int32_t bci, uint8_t bias, uintptr_t* told_end) {
  // Pairs (bci, line) as differences to the pair before: in one byte, 5 bits and 3, or 0xff and two signed numbers.
  int64_t at_bci = 0, line = 0, best_bci = -1;
  int32_t best_line = 0;
  uintptr_t next_end = 0;  // of the first entry behind the best
  bool is_ordered = true;
  while (table < end && IsReadable(table)) {
    uint8_t byte = *reinterpret_cast<const uint8_t*>(table++);
    if (byte == 0) break;
    const int64_t before = at_bci;
    if (byte == 0xff) {
      uint32_t coded[2];
      if (!TakeUnsigned5(&table, end, bias, &coded[0]) || !TakeUnsigned5(&table, end, bias, &coded[1])) break;
      auto decode = [](uint32_t sign_last) { return static_cast<int32_t>(sign_last >> 1 ^ (0 - (sign_last & 1))); };
      at_bci += decode(coded[0]);
      line += decode(coded[1]);
    } else {
      at_bci += byte >> 3;
      line += byte & 7;
    }
    if (at_bci <= bci && at_bci >= best_bci && line > 0 && line < (1 << 24)) {
      best_bci = at_bci;
      best_line = static_cast<int32_t>(line);
      next_end = 0;
    } else if (at_bci > bci && next_end == 0) {
      next_end = table;
    }
    is_ordered = is_ordered && at_bci >= before;
  }
  if (told_end != nullptr) *told_end = is_ordered && next_end != 0 ? next_end : table;
  return best_line;
}

bool ReadMethod(const VmStructs& vm, uintptr_t address, Method* method) {
  uint16_t access, name_index;
  int32_t words;
  if (address % 8 != 0 || !Read(address + static_cast<uintptr_t>(vm.method_const), &method->const_method) ||
      !Read(address + static_cast<uintptr_t>(vm.method_access), &access)) {
    return false;
  }
  uintptr_t constant = method->const_method;
  if (constant % 8 != 0 || !Read(constant + static_cast<uintptr_t>(vm.const_method_pool), &method->pool) ||
      !Read(constant + static_cast<uintptr_t>(vm.const_method_words), &words) ||
      !Read(constant + static_cast<uintptr_t>(vm.const_method_code_bytes), &method->code_bytes) ||
      !Read(constant + static_cast<uintptr_t>(vm.const_method_name), &name_index)) {
    return false;
  }
  constexpr int32_t kMostWords = 1 << 20;
  if (words <= 0 || words > kMostWords) return false;
  method->const_method_bytes = static_cast<uint32_t>(words) * 8;
  if (static_cast<uint64_t>(vm.const_method_bytes) + method->code_bytes > method->const_method_bytes) return false;
  method->is_native = (access & kAccNative) != 0;
  return method->pool % 8 == 0 && Read(method->pool + static_cast<uintptr_t>(vm.pool_holder), &method->holder) &&
         FindPoolSlot(vm, method->pool, name_index, &method->name_slot) &&
         Read(method->name_slot, &method->name_address) && ReadSymbol(vm, method->name_address, &method->name) &&
         Read(method->holder + static_cast<uintptr_t>(vm.klass_name), &method->class_symbol_address) &&
         ReadSymbol(vm, method->class_symbol_address, &method->class_symbol);
}

bool IsNamed(const VmStructs& vm, uintptr_t klass, const char* name) {
  uintptr_t symbol;
  Slice text;
  return Read(klass + static_cast<uintptr_t>(vm.klass_name), &symbol) && ReadSymbol(vm, symbol, &text) &&
         Equals(text, name);
}

Frame NameMethod(const VmStructs& vm, const Method& method, int32_t bci, JavaKind kind) {
  return NameOf(method, ReadSource(vm, method, bci), kind);
}

void AddMethod(const VmStructs& vm, uintptr_t address, const Method& method, int32_t bci, FindingList* list) {
  if (!list->complete()) return;
  auto place = [](uintptr_t object, int64_t offset) { return object + static_cast<uintptr_t>(offset); };
  uintptr_t constant = method.const_method;
  list->AddWord(place(address, vm.method_const), constant);
  list->AddWord(place(constant, vm.const_method_pool), method.pool);
  list->AddMemory(place(constant, vm.const_method_words), sizeof(int32_t));
  list->AddMemory(place(constant, vm.const_method_code_bytes), sizeof(uint16_t));
  list->AddMemory(place(constant, vm.const_method_name), sizeof(uint16_t));
  list->AddWord(place(method.pool, vm.pool_holder), method.holder);
  list->AddWord(method.name_slot, method.name_address);
  list->AddWord(place(method.holder, vm.klass_name), method.class_symbol_address);
  AddSymbol(vm, method.name_address, method.name, list);
  AddSymbol(vm, method.class_symbol_address, method.class_symbol, list);
  Source source = ReadSource(vm, method, bci);
  if (source.index_place != 0) list->AddMemory(source.index_place, sizeof(uint16_t));
  if (source.slot != 0) {
    list->AddWord(source.slot, source.symbol);
    AddSymbol(vm, source.symbol, source.file, list);
  }
  list->AddMemory(place(constant, vm.const_method_flags), sizeof(uint16_t));
  list->AddMemory(source.lines, source.lines_end - source.lines);
}

Frame NameMethodCached(const VmStructs& vm, uintptr_t address, const Method& method, int32_t bci, JavaKind kind) {
  uint64_t what = uint64_t{static_cast<uint32_t>(bci)} << 8 | static_cast<uint8_t>(kind);
  uint64_t hash = (address ^ what << 20) * kMultiplier;
  const Source source = ReadSource(vm, method, bci);
  uint64_t name = HashName(method, source), seen[4];
  if (cache.Read(hash, seen) && seen[0] == address && seen[1] == what && seen[2] == name) return seen[3];
  Frame frame = NameOf(method, source, kind);
  if (frame != 0) cache.Write(hash, {address, what, name, frame});
  return frame;
}

}  // namespace leakshim::vm
