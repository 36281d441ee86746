#include "jvm/code_cache.h"

#include <cstring>

#include "jvm/java_method.h"
#include "jvm/seq_slot.h"
#include "jvm/vm_memory.h"
#include "os/arena.h"
#include "os/intern_table.h"

namespace leakshim::vm {
namespace {

// A field of an object that need not be checked again: it lies in a heap's committed part.
template <typename T>
T Field(uintptr_t object, int64_t offset) {
  T value;
  __builtin_memcpy(&value, reinterpret_cast<const void*>(object + static_cast<uintptr_t>(offset)), sizeof(T));
  return value;
}

// A pointer that a static field holds; 0 if that is not readable.
uintptr_t Static(int64_t address) {
  uintptr_t value;
  return Read(static_cast<uintptr_t>(address), &value) ? value : 0;
}

bool StartsWith(const char* text, const char* prefix) {
  while (*prefix != 0 && *text == *prefix) text++, prefix++;
  return *prefix == 0;
}

// What a compiled frame at one pc of one nmethod stands for.
struct FrameList {
  uint64_t hash;
  uint32_t count;
  bool whole;
  Frame frames[];
};

constinit Arena arena{64 << 10};
constinit InternTable<FrameList, 256, 16, 1024, 256> lists;

// {pc, compile id << 32 | list}: a compile id is given once, so the same id at the same pc is the same code, and as
// long as the code lives so do the methods that it was made of.
constinit SeqCache<2, 4096> cache;

uint32_t InternList(const Frame* frames, uint32_t count, bool whole) {
  uint64_t hash = count * 2 + (whole ? 1 : 0);
  for (uint32_t i = 0; i < count; i++) {
    hash = (hash ^ frames[i]) * 0xd6e8feb86659fd93u;
    hash ^= hash >> 32;
  }
  return lists.Intern(
      hash,
      [&](const FrameList& list) {
        return list.hash == hash && list.count == count && list.whole == whole &&
               memcmp(list.frames, frames, count * sizeof(Frame)) == 0;
      },
      [&]() -> const FrameList* {
        auto* list = static_cast<FrameList*>(arena.Allocate(sizeof(FrameList) + count * sizeof(Frame)));
        if (list == nullptr) return nullptr;
        list->hash = hash;
        list->count = count;
        list->whole = whole;
        memcpy(list->frames, frames, count * sizeof(Frame));
        return list;
      });
}

// The debug information of one nmethod.
struct Scopes {
  uintptr_t pcs, pcs_end;    // PcDesc, ordered by pc
  uintptr_t data, data_end;  // the stream
  uintptr_t metadata;        // methods, by number from 1
};

bool FindScopes(const VmStructs& vm, const Blob& nmethod, Scopes* scopes) {
  uintptr_t at = nmethod.address;
  auto part = [&](int64_t field) { return static_cast<uintptr_t>(static_cast<int64_t>(Field<int32_t>(at, field))); };
  if (vm.Has(vm.nmethod_immutable_data)) {
    auto data = Field<uintptr_t>(at, vm.nmethod_immutable_data);
    uintptr_t bytes = part(vm.nmethod_immutable_bytes);
    uintptr_t pcs = part(vm.nmethod_scopes_pcs_offset), stream = part(vm.nmethod_scopes_data_offset);
    if (pcs > stream || stream > bytes || bytes > (1u << 30)) return false;
    *scopes = {data + pcs, data + stream, data + stream, data + bytes, 0};
  } else {
    uintptr_t pcs = at + part(vm.nmethod_scopes_pcs_offset), pcs_end = at + part(vm.nmethod_dependencies_offset);
    uintptr_t data = vm.Has(vm.nmethod_scopes_data_begin) ? Field<uintptr_t>(at, vm.nmethod_scopes_data_begin)
                                                          : at + part(vm.nmethod_scopes_data_offset);
    if (data < at || data > pcs || pcs > pcs_end || pcs_end > nmethod.end) return false;
    *scopes = {pcs, pcs_end, data, pcs, 0};
  }
  if (vm.Has(vm.nmethod_metadata_offset)) {
    scopes->metadata = at + part(vm.nmethod_metadata_offset);
    return scopes->metadata < nmethod.end;
  }
  scopes->metadata = Field<uintptr_t>(at, vm.blob_mutable_data) + part(vm.blob_relocation_bytes);
  return true;
}

// Where the scopes of `pc` begin in the stream; 0: none. A call's return address has an entry of its own; for code that
// calls without one (leaf calls) the next one is near enough.
int32_t ScopeOffset(const VmStructs& vm, const Scopes& scopes, int32_t pc_offset) {
  auto stride = static_cast<uintptr_t>(vm.pc_desc_bytes);
  uintptr_t low = 0, high = (scopes.pcs_end - scopes.pcs) / stride;  // the first entry at or past the pc
  while (low < high) {
    uintptr_t middle = (low + high) / 2;
    int32_t there;
    if (!Read(scopes.pcs + middle * stride + static_cast<uintptr_t>(vm.pc_desc_pc_offset), &there)) return 0;
    if (there < pc_offset) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  int32_t offset = 0;
  uintptr_t entry = scopes.pcs + low * stride;
  if (entry >= scopes.pcs_end || !Read(entry + static_cast<uintptr_t>(vm.pc_desc_scope_offset), &offset)) return 0;
  return offset;
}

// A scope: the method and bytecode it is at, and the scope that it was inlined into.
struct Scope {
  uintptr_t method;
  int32_t bci;
  int32_t caller;  // offset in the stream; 0: none
};

// Source: ScopeDesc::decode_body() of OpenJDK: sender, method, bci + 1.
bool ReadScope(const VmStructs& vm, const Scopes& scopes, int32_t offset, Scope* scope) {
  uintptr_t at = scopes.data + static_cast<uintptr_t>(static_cast<int64_t>(offset));
  uint32_t caller, method, bci;
  if (offset <= 0 || at >= scopes.data_end || !TakeUnsigned5(&at, scopes.data_end, vm.unsigned5_bias, &caller) ||
      !TakeUnsigned5(&at, scopes.data_end, vm.unsigned5_bias, &method) ||
      !TakeUnsigned5(&at, scopes.data_end, vm.unsigned5_bias, &bci)) {
    return false;
  }
  constexpr uint32_t kMostMetadata = 1 << 20;
  if (method == 0 || method > kMostMetadata || !Read(scopes.metadata + (method - 1) * 8u, &scope->method)) return false;
  scope->bci = static_cast<int32_t>(bci) - 1;
  scope->caller = static_cast<int32_t>(caller);
  return true;
}

uint32_t AppendScopes(const VmStructs& vm, const Blob& nmethod, uintptr_t pc, Frame* frames, uint32_t room,
                      bool* whole) {
  uintptr_t own_method = MethodOf(vm, nmethod);
  uint32_t count = 0;
  auto add = [&](uintptr_t address, int32_t bci, JavaKind kind) {
    Method method;
    if (count == room) {
      *whole = false;
      return false;
    }
    // What cannot be named still has its place in the stack.
    Frame frame = ReadMethod(vm, address, &method) ? NameMethod(vm, method, bci, kind) : 0;
    if (frame == 0) *whole = false;
    frames[count++] = frame != 0 ? frame : JavaNames::Unknown();
    return true;
  };
  if (nmethod.kind == Blob::kNative) {
    add(own_method, -1, JavaKind::kNative);
    return count;
  }
  Scopes scopes;
  Scope scope;
  int32_t offset = 0;
  if (FindScopes(vm, nmethod, &scopes)) {
    offset = ScopeOffset(vm, scopes, static_cast<int32_t>(pc - nmethod.code_begin));
  }
  if (!ReadScope(vm, scopes, offset, &scope)) {
    add(own_method, -1, JavaKind::kCompiled);
    return count;
  }
  for (;;) {
    // A scope's caller is written before it, so the way to the outermost one ends.
    bool outermost = scope.caller == 0 || scope.caller >= offset;
    if (!add(scope.method, scope.bci, outermost ? JavaKind::kCompiled : JavaKind::kInlined) || outermost) break;
    offset = scope.caller;
    if (!ReadScope(vm, scopes, offset, &scope)) {
      add(own_method, -1, JavaKind::kCompiled);
      break;
    }
  }
  return count;
}

}  // namespace

bool CodeCache::Init(const VmStructs& vm) {
  call_stub_return_ = Static(vm.call_stub_return);
  uintptr_t interpreter = Static(vm.interpreter_code);
  uintptr_t heaps = Static(vm.Has(vm.code_heaps) ? vm.code_heaps : vm.code_heap);
  if (call_stub_return_ == 0 || interpreter == 0 || heaps == 0) return false;
  if (vm.Has(vm.cont_return_pc) && vm.Has(vm.cont_entry_bytes) && vm.Has(vm.thread_cont_entry)) {
    cont_return_at_ = reinterpret_cast<const uintptr_t*>(vm.cont_return_pc);
  }

  int32_t limit;
  if (!Read(interpreter + static_cast<uintptr_t>(vm.stub_queue_buffer), &interpreter_begin_) ||
      !Read(interpreter + static_cast<uintptr_t>(vm.stub_queue_limit), &limit) || limit <= 0) {
    return false;
  }
  interpreter_end_ = interpreter_begin_ + static_cast<uintptr_t>(limit);

  int32_t count = 1;
  uintptr_t data = 0;
  if (vm.Has(vm.code_heaps)) {
    if (!Read(heaps + static_cast<uintptr_t>(vm.array_length), &count) ||
        !Read(heaps + static_cast<uintptr_t>(vm.array_data), &data)) {
      return false;
    }
  }
  if (count <= 0 || count > kMostHeaps) return false;
  low_ = ~uintptr_t{0};
  high_ = 0;
  for (int i = 0; i < count; i++) {
    uintptr_t address = heaps;
    if (data != 0 && !Read(data + static_cast<uintptr_t>(i) * 8, &address)) return false;
    Heap& heap = heaps_[i];
    heap.space = address + static_cast<uintptr_t>(vm.code_heap_memory);
    uintptr_t high;
    int32_t log2;
    if (!Read(heap.space + static_cast<uintptr_t>(vm.space_low), &heap.low) ||
        !Read(heap.space + static_cast<uintptr_t>(vm.space_high), &high) ||
        !Read(address + static_cast<uintptr_t>(vm.code_heap_segmap + vm.space_low), &heap.segments) ||
        !Read(address + static_cast<uintptr_t>(vm.code_heap_log2_segment), &log2)) {
      return false;
    }
    constexpr uintptr_t kMostBytes = uintptr_t{1} << 32;
    if (log2 < 3 || log2 > 20 || heap.low == 0 || high < heap.low || high - heap.low > kMostBytes) return false;
    heap.log2_segment = static_cast<uint32_t>(log2);
    if (heap.low < low_) low_ = heap.low;
    // Heaps grow; the cache as a whole lies within 2 GiB, which is how far its calls reach.
    if (heap.low + (uintptr_t{1} << 31) > high_) high_ = heap.low + (uintptr_t{1} << 31);
  }
  heap_count_ = count;
  return true;
}

bool CodeCache::Find(const VmStructs& vm, uintptr_t pc, Blob* blob) const {
  for (int i = 0; i < heap_count_; i++) {
    const Heap& heap = heaps_[i];
    // The committed part only grows.
    auto high = Field<uintptr_t>(heap.space, vm.space_high);
    if (pc < heap.low || pc >= high) continue;
    // Source: CodeHeap::find_block_for(). Each byte says how far back, at least, the block's first segment is.
    uintptr_t segment = (pc - heap.low) >> heap.log2_segment;
    constexpr uint8_t kFree = 0xff;
    uint8_t back;
    if (!Read(heap.segments + segment, &back) || back == kFree) return false;
    while (back != 0) {
      if (back > segment) return false;
      segment -= back;
      if (!Read(heap.segments + segment, &back)) return false;
    }
    uintptr_t block = heap.low + (segment << heap.log2_segment);
    uintptr_t address = block + static_cast<uintptr_t>(vm.heap_block_bytes);
    constexpr uintptr_t kLargestHeader = 512;
    if (address + kLargestHeader > high || Field<uint8_t>(block, vm.heap_block_used) == 0) return false;
    auto bytes = Field<int32_t>(address, vm.blob_bytes);
    if (bytes <= 0 || static_cast<uintptr_t>(bytes) > high - address) return false;
    blob->address = address;
    blob->end = address + static_cast<uintptr_t>(bytes);
    blob->code_begin = vm.Has(vm.blob_code_begin)
                           ? Field<uintptr_t>(address, vm.blob_code_begin)
                           : address + static_cast<uintptr_t>(int64_t{Field<int32_t>(address, vm.blob_code_offset)});
    if (blob->code_begin < address || pc < blob->code_begin || pc >= blob->end) return false;
    blob->frame_words = Field<int32_t>(address, vm.blob_frame_words);
    // An int before JDK 25, small in either case; negative: it never is, as far as the VM is concerned.
    int16_t complete = vm.Has(vm.blob_frame_complete) ? Field<int16_t>(address, vm.blob_frame_complete) : int16_t{0};
    blob->complete = blob->code_begin + static_cast<uintptr_t>(complete > 0 ? complete : 0);
    auto name_address = Field<uintptr_t>(address, vm.blob_name);
    constexpr size_t kLongestCompared = 16;
    if (!IsReadable(name_address, kLongestCompared)) return false;
    const auto* name = reinterpret_cast<const char*>(name_address);
    blob->kind = StartsWith(name, "nmethod")          ? Blob::kCompiled
                 : StartsWith(name, "native nmethod") ? Blob::kNative
                 : StartsWith(name, "upcall_stub")    ? Blob::kUpcall
                                                      : Blob::kStub;
    return true;
  }
  return false;
}

void AddBlob(const VmStructs& vm, const Blob& blob, FindingList* list) {
  auto add = [&](int64_t field, uintptr_t bytes) {
    list->AddMemory(blob.address + static_cast<uintptr_t>(field), bytes);
  };
  if (!list->complete()) return;
  // Of memory that is free, or a part of another block now, the rest may still stand there.
  add(vm.heap_block_used - vm.heap_block_bytes, sizeof(uint8_t));
  if (blob.kind == Blob::kCompiled || blob.kind == Blob::kNative) {
    // Given once. 0: an adapter of the VM's own, which all have.
    if (Field<int32_t>(blob.address, vm.nmethod_compile_id) == 0) return list->GiveUp();
    return add(vm.nmethod_compile_id, sizeof(int32_t));
  }
  add(vm.blob_name, sizeof(uintptr_t));
  add(vm.blob_bytes, sizeof(int32_t));
  add(vm.blob_frame_words, sizeof(int32_t));
}

uintptr_t MethodOf(const VmStructs& vm, const Blob& nmethod) {
  return Field<uintptr_t>(nmethod.address, vm.nmethod_method);
}

bool UndoDeoptimisation(const VmStructs& vm, const Blob& nmethod, uintptr_t sp, uintptr_t stack_end, uintptr_t* pc) {
  uintptr_t handler, handler_of_handles;
  if (vm.Has(vm.nmethod_deopt_begin)) {
    handler = Field<uintptr_t>(nmethod.address, vm.nmethod_deopt_begin);
    handler_of_handles =
        vm.Has(vm.nmethod_deopt_mh_begin) ? Field<uintptr_t>(nmethod.address, vm.nmethod_deopt_mh_begin) : 0;
  } else {
    auto offset = [&](int64_t field) {
      return vm.Has(field) ? nmethod.address + static_cast<uintptr_t>(int64_t{Field<int32_t>(nmethod.address, field)})
                           : 0;
    };
    handler = offset(vm.nmethod_deopt_offset);
    handler_of_handles = offset(vm.nmethod_deopt_mh_offset);
  }
  if (*pc != handler && *pc != handler_of_handles) return false;
  auto offset = Field<int32_t>(nmethod.address, vm.nmethod_orig_pc_offset);
  uintptr_t place = sp + static_cast<uintptr_t>(static_cast<int64_t>(offset));
  if (offset < 0 || offset % 8 != 0 || place < sp || place >= stack_end) return true;
  auto original = *reinterpret_cast<const uintptr_t*>(place);
  if (original >= nmethod.code_begin && original < nmethod.end) *pc = original;
  return true;
}

uint32_t AppendCompiled(const VmStructs& vm, const Blob& nmethod, uintptr_t pc, Frame* frames, uint32_t room,
                        bool* whole) {
  auto compile_id = static_cast<uint32_t>(Field<int32_t>(nmethod.address, vm.nmethod_compile_id));
  uint64_t hash = pc * 0x9e3779b97f4a7c15u, seen[2];
  if (compile_id != 0 && cache.Read(hash, seen) && seen[0] == pc && seen[1] >> 32 == compile_id) {
    const FrameList* list = lists.Get(static_cast<uint32_t>(seen[1]));
    uint32_t count = list->count < room ? list->count : room;
    memcpy(frames, list->frames, count * sizeof(Frame));
    if (count < list->count || !list->whole) *whole = false;
    return count;
  }
  bool all = true;
  uint32_t count = AppendScopes(vm, nmethod, pc, frames, room, &all);
  if (!all) *whole = false;
  // What ended for want of room is not the whole list.
  if (compile_id != 0 && count < room) {
    uint32_t list = InternList(frames, count, all);
    if (list != 0) cache.Write(hash, {pc, uint64_t{compile_id} << 32 | list});
  }
  return count;
}

}  // namespace leakshim::vm
