#include "jvm/vm_structs.h"

#include <cstring>

#include "jvm/vm_memory.h"
#include "os/elf_lookup.h"

namespace leakshim::vm {
namespace {

enum class Form : uint8_t { kPointer, kInt, kHalf, kAny };

struct Wanted {
  enum class What : uint8_t { kField, kStatic, kSize } what;
  Form form;
  int64_t VmStructs::*member;
  const char* type;
  const char* name;
  const char* jdks;
  uint32_t hash;
};

constexpr uint32_t Hash(const char* text, uint32_t hash = 0x811c9dc5u) {
  for (; *text != 0; text++) hash = (hash ^ static_cast<unsigned char>(*text)) * 0x01000193u;
  return hash;
}

constexpr uint32_t HashOf(const char* type, const char* name) {
  uint32_t hash = Hash("::", Hash(type));
  return name == nullptr ? hash : Hash(name, hash);
}

constexpr Wanted kWanted[] = {
#define FIELD(member, type, name, form, jdks) \
  {Wanted::What::kField, Form::form, &VmStructs::member, type, name, jdks, HashOf(type, name)},
#define STATIC(member, type, name, form, jdks) \
  {Wanted::What::kStatic, Form::form, &VmStructs::member, type, name, jdks, HashOf(type, name)},
#define SIZE(member, type, jdks) \
  {Wanted::What::kSize, Form::kAny, &VmStructs::member, type, nullptr, jdks, HashOf(type, nullptr)},
#include "jvm/vm_fields.def"
#undef FIELD
#undef STATIC
#undef SIZE
};
constexpr size_t kWantedCount = sizeof(kWanted) / sizeof(kWanted[0]);

// A NUL-terminated text of the tables. False: longer than any name in them, or not readable.
bool IsText(uintptr_t address) {
  constexpr size_t kLongest = 256;
  for (size_t i = 0; i < kLongest; i++) {
    if ((i == 0 || (address + i) % kPageBytes == 0) && !IsReadable(address + i)) return false;
    if (*reinterpret_cast<const char*>(address + i) == 0) return true;
  }
  return false;
}

bool HasStar(const char* text) {
  while (*text != 0 && *text != '*') text++;
  return *text != 0;
}

bool IsOneOf(const char* text, const char* const* names) {
  for (; *names != nullptr; names++) {
    if (strcmp(text, *names) == 0) return true;
  }
  return false;
}

bool Fits(const char* type_string, Form form) {
  static constexpr const char* kPointers[] = {"address", "pthread_t", nullptr};
  static constexpr const char* kInts[] = {"int", "jint",     "uint",     "juint",      "unsigned int", "uint32_t",
                                          "u4",  "ByteSize", "unsigned", "const uint", nullptr};
  static constexpr const char* kHalves[] = {"u2", "unsigned short", "uint16_t", "jushort", "short", "int16_t", nullptr};
  switch (form) {
    case Form::kPointer:
      return IsOneOf(type_string, kPointers) || HasStar(type_string);
    case Form::kInt:
      return IsOneOf(type_string, kInts);
    case Form::kHalf:
      return IsOneOf(type_string, kHalves);
    case Form::kAny:
      return true;
  }
  return false;
}

// One of the exported arrays: `count` words of layout say where an entry's columns lie.
class Table {
 public:
  // `prefix`: "gHotSpotVMStruct" or "gHotSpotVMType".
  Table(const os::DynamicTables& symbols, const char* array, const char* stride) : symbols_(symbols) {
    found_ = ReadWord(array, &at_) && ReadWord(stride, &stride_);
  }
  bool found() const { return found_; }
  // Before libjvm's constructors have run the layout is zero.
  bool filled() const { return at_ != 0 && stride_ != 0 && stride_ < 1024; }

  bool Column(const char* symbol, uintptr_t* offset) const {
    return ReadWord(symbol, offset) && *offset < stride_ && *offset % 4 == 0;
  }
  template <typename T>
  bool Get(uintptr_t column, T* value) const {
    return Read(at_ + column, value);
  }
  // A text of the entry, or nullptr; "" where the entry has none.
  const char* Text(uintptr_t column) const {
    uintptr_t text;
    if (!Get(column, &text)) return nullptr;
    if (text == 0) return "";
    return IsText(text) ? reinterpret_cast<const char*>(text) : nullptr;
  }
  void Next() { at_ += stride_; }

 private:
  bool ReadWord(const char* symbol, uintptr_t* word) const {
    uintptr_t address = os::FindSymbol(symbols_, symbol);
    return address != 0 && Read(address, word);
  }

  const os::DynamicTables symbols_;
  bool found_ = false;
  uintptr_t at_ = 0, stride_ = 0;
};

constexpr int kMostEntries = 20'000;

// Calls `visit(table, type name, field name)` for each entry. False: the array does not end where it should.
template <typename Visit>
bool ForEach(Table table, uintptr_t type_column, uintptr_t name_column, bool has_name, Visit visit) {
  for (int i = 0; i < kMostEntries; i++, table.Next()) {
    uintptr_t type;
    if (!table.Get(type_column, &type)) return false;
    if (type == 0) return true;
    const char* type_name = table.Text(type_column);
    const char* field_name = has_name ? table.Text(name_column) : nullptr;
    if (type_name == nullptr || (has_name && field_name == nullptr)) return false;
    visit(table, type_name, field_name);
  }
  return false;
}

// Calls `visit(index of kWanted, ...)` for each entry of a table that is wanted.
template <typename Visit>
bool ForEachWanted(const Table& table, uintptr_t type_column, uintptr_t name_column, bool has_name, Visit visit) {
  return ForEach(
      table, type_column, name_column, has_name, [&](const Table& at, const char* type_name, const char* field_name) {
        uint32_t hash = HashOf(type_name, field_name);
        for (size_t i = 0; i < kWantedCount; i++) {
          const Wanted& wanted = kWanted[i];
          if (wanted.hash != hash || strcmp(wanted.type, type_name) != 0) continue;
          if (has_name ? wanted.name == nullptr || strcmp(wanted.name, field_name) != 0 : wanted.name != nullptr) {
            continue;
          }
          visit(i, at);
        }
      });
}

struct Columns {
  uintptr_t struct_type, struct_name, struct_type_string, struct_is_static, struct_offset, struct_address;
  uintptr_t type_name, type_size;
};

bool ReadColumns(const Table& structs, const Table& types, Columns* columns) {
  return structs.Column("gHotSpotVMStructEntryTypeNameOffset", &columns->struct_type) &&
         structs.Column("gHotSpotVMStructEntryFieldNameOffset", &columns->struct_name) &&
         structs.Column("gHotSpotVMStructEntryTypeStringOffset", &columns->struct_type_string) &&
         structs.Column("gHotSpotVMStructEntryIsStaticOffset", &columns->struct_is_static) &&
         structs.Column("gHotSpotVMStructEntryOffsetOffset", &columns->struct_offset) &&
         structs.Column("gHotSpotVMStructEntryAddressOffset", &columns->struct_address) &&
         types.Column("gHotSpotVMTypeEntryTypeNameOffset", &columns->type_name) &&
         types.Column("gHotSpotVMTypeEntrySizeOffset", &columns->type_size);
}

uint64_t BytesOf(Form form) {
  return form == Form::kPointer ? 8 : form == Form::kInt ? 4 : 2;  // nothing wanted begins at an odd place
}

void SayWhat(TextBuffer* reason, const char* what, const Wanted& wanted) {
  reason->Append(what).AppendChar(' ').Append(wanted.type);
  if (wanted.name != nullptr) reason->Append("::").Append(wanted.name);
}

// Of the types that wanted fields lie in; 0: not in the tables. Static, because the stack may be a small one.
constinit uint64_t type_bytes[kWantedCount];

class Reader {
 public:
  Reader(const Module& libjvm, VmStructs* out, TextBuffer* reason)
      : libjvm_(libjvm),
        symbols_(os::ReadDynamicTables(libjvm.bias, libjvm.dynamic)),
        structs_(symbols_, "gHotSpotVMStructs", "gHotSpotVMStructEntryArrayStride"),
        types_(symbols_, "gHotSpotVMTypes", "gHotSpotVMTypeEntryArrayStride"),
        out_(out),
        reason_(reason) {}

  ReadResult Run() {
    ReadResult ready = Ready();
    if (ready != ReadResult::kDone) return ready;
    for (const Wanted& wanted : kWanted) out_->*wanted.member = VmStructs::kNone;
    bool whole = ForEachWanted(types_, columns_.type_name, 0, false, [&](size_t i, const Table& at) {
      uint64_t bytes;
      if (at.Get(columns_.type_size, &bytes) && bytes > 0 && bytes < (1 << 20)) {
        out_->*kWanted[i].member = static_cast<int64_t>(bytes);
      }
    });
    // Sizes of the types that fields lie in, which need not be wanted themselves.
    for (uint64_t& bytes : type_bytes) bytes = 0;
    whole = whole &&
            ForEach(types_, columns_.type_name, 0, false, [&](const Table& at, const char* type_name, const char*) {
              for (size_t i = 0; i < kWantedCount; i++) {
                if (kWanted[i].type[0] == type_name[0] && strcmp(kWanted[i].type, type_name) == 0) {
                  at.Get(columns_.type_size, &type_bytes[i]);
                }
              }
            });
    whole = whole && ForEachWanted(structs_, columns_.struct_type, columns_.struct_name, true,
                                   [&](size_t i, const Table& at) { TakeField(i, at); });
    if (!whole) {
      reason_->Append("the VM's tables end where they should not");
      return ReadResult::kUnusable;
    }
    return bad_ ? ReadResult::kUnusable : ReadResult::kDone;
  }

  bool Has(size_t index) {
    if (Ready() != ReadResult::kDone) return false;
    bool has = false;
    auto look = [&](size_t i, const Table& at) {
      const char* type_string = kWanted[i].name == nullptr ? "" : at.Text(columns_.struct_type_string);
      has = has || (i == index && (type_string == nullptr || Fits(type_string, kWanted[i].form)));
    };
    ForEachWanted(types_, columns_.type_name, 0, false, look);
    ForEachWanted(structs_, columns_.struct_type, columns_.struct_name, true, look);
    return has;
  }

 private:
  ReadResult Ready() {
    if (!structs_.found() || !types_.found()) {
      reason_->Append("no HotSpot: libjvm exports no VMStructs");
      return ReadResult::kUnusable;
    }
    if (!structs_.filled() || !types_.filled()) return ReadResult::kNotYet;
    if (!ReadColumns(structs_, types_, &columns_)) {
      reason_->Append("the layout of the VM's tables is not known");
      return ReadResult::kUnusable;
    }
    return ReadResult::kDone;
  }

  void TakeField(size_t i, const Table& at) {
    const Wanted& wanted = kWanted[i];
    const char* type_string = at.Text(columns_.struct_type_string);
    int32_t is_static;
    uint64_t offset;
    uintptr_t address;
    if (type_string == nullptr || !at.Get(columns_.struct_is_static, &is_static) ||
        !at.Get(columns_.struct_offset, &offset) || !at.Get(columns_.struct_address, &address)) {
      return Bad("unreadable", wanted);
    }
    // "": the table gives no type for it.
    if (type_string[0] != 0 && !Fits(type_string, wanted.form)) return Bad("unexpected type of", wanted);
    bool want_static = wanted.what == Wanted::What::kStatic;
    if ((is_static != 0) != want_static) return Bad("unexpected kind of", wanted);
    if (want_static) {
      if (address < libjvm_.start || address >= libjvm_.end || address % BytesOf(wanted.form) != 0) {
        return Bad("impossible address of", wanted);
      }
      out_->*wanted.member = static_cast<int64_t>(address);
      return;
    }
    constexpr uint64_t kMostBytes = 512;  // where the table does not know the size of the type
    constexpr uint64_t kLargestType = 64 << 10;
    uint64_t bytes = type_bytes[i] != 0 && type_bytes[i] < kLargestType ? type_bytes[i] : kMostBytes;
    if (offset % BytesOf(wanted.form) != 0 || offset >= kLargestType || offset + BytesOf(wanted.form) > bytes) {
      return Bad("impossible offset of", wanted);
    }
    out_->*wanted.member = static_cast<int64_t>(offset);
  }

  void Bad(const char* what, const Wanted& wanted) {
    if (!bad_) SayWhat(reason_, what, wanted);
    bad_ = true;
  }

  const Module& libjvm_;
  const os::DynamicTables symbols_;
  const Table structs_, types_;
  Columns columns_{};
  VmStructs* const out_;
  TextBuffer* const reason_;
  bool bad_ = false;
};

// Finds what the walker cannot do without. nullptr: all is there; else a member that is missing.
bool CheckLayout(const VmStructs& vm, TextBuffer* reason) {
  static constexpr int64_t VmStructs::*kNeeded[] = {&VmStructs::thread_osthread,
                                                    &VmStructs::osthread_pthread_id,
                                                    &VmStructs::thread_stack_base,
                                                    &VmStructs::thread_stack_size,
                                                    &VmStructs::thread_anchor,
                                                    &VmStructs::anchor_sp,
                                                    &VmStructs::anchor_pc,
                                                    &VmStructs::anchor_fp,
                                                    &VmStructs::call_wrapper_anchor,
                                                    &VmStructs::array_length,
                                                    &VmStructs::array_data,
                                                    &VmStructs::code_heap_memory,
                                                    &VmStructs::code_heap_segmap,
                                                    &VmStructs::code_heap_log2_segment,
                                                    &VmStructs::space_low,
                                                    &VmStructs::space_high,
                                                    &VmStructs::heap_block_bytes,
                                                    &VmStructs::heap_block_used,
                                                    &VmStructs::call_stub_return,
                                                    &VmStructs::interpreter_code,
                                                    &VmStructs::stub_queue_buffer,
                                                    &VmStructs::stub_queue_limit,
                                                    &VmStructs::blob_name,
                                                    &VmStructs::blob_bytes,
                                                    &VmStructs::blob_frame_words,
                                                    &VmStructs::nmethod_method,
                                                    &VmStructs::nmethod_compile_id,
                                                    &VmStructs::nmethod_orig_pc_offset,
                                                    &VmStructs::nmethod_scopes_pcs_offset,
                                                    &VmStructs::pc_desc_bytes,
                                                    &VmStructs::pc_desc_pc_offset,
                                                    &VmStructs::pc_desc_scope_offset,
                                                    &VmStructs::method_const,
                                                    &VmStructs::method_access,
                                                    &VmStructs::const_method_bytes,
                                                    &VmStructs::const_method_pool,
                                                    &VmStructs::const_method_words,
                                                    &VmStructs::const_method_flags,
                                                    &VmStructs::const_method_code_bytes,
                                                    &VmStructs::const_method_name,
                                                    &VmStructs::pool_bytes,
                                                    &VmStructs::pool_holder,
                                                    &VmStructs::pool_length,
                                                    &VmStructs::klass_name,
                                                    &VmStructs::symbol_body,
                                                    &VmStructs::vm_release,
                                                    &VmStructs::vm_major};
  for (auto needed : kNeeded) {
    if (vm.Has(vm.*needed)) continue;
    for (const Wanted& wanted : kWanted) {
      if (wanted.member == needed) {
        SayWhat(reason, "the VM's tables lack", wanted);
        return false;
      }
    }
  }
  // Where JDKs differ, one whole way of saying it.
  struct Group {
    const char* what;
    bool there;
  } groups[] = {
      {"the list of threads",
       (vm.Has(vm.thread_list) && vm.Has(vm.thread_list_length) && vm.Has(vm.thread_list_threads)) ||
           (vm.Has(vm.thread_list_first) && vm.Has(vm.thread_next))},
      {"the code cache", vm.Has(vm.code_heaps) || vm.Has(vm.code_heap)},
      {"where code begins", vm.Has(vm.blob_code_begin) || vm.Has(vm.blob_code_offset)},
      {"scopes of compiled code", vm.Has(vm.nmethod_scopes_data_begin) ||
                                      (vm.Has(vm.nmethod_scopes_data_offset) &&
                                       (!vm.Has(vm.nmethod_immutable_data) || vm.Has(vm.nmethod_immutable_bytes)))},
      {"the end of the scopes", vm.Has(vm.nmethod_dependencies_offset) || vm.Has(vm.nmethod_immutable_data)},
      {"metadata of compiled code",
       vm.Has(vm.nmethod_metadata_offset) || (vm.Has(vm.blob_mutable_data) && vm.Has(vm.blob_relocation_bytes))},
      {"deoptimisation handlers", vm.Has(vm.nmethod_deopt_begin) || vm.Has(vm.nmethod_deopt_offset)},
      {"lengths of symbols", vm.Has(vm.symbol_length) || vm.Has(vm.symbol_length_and_refcount)},
      {"names of source files", vm.Has(vm.pool_source_file) || vm.Has(vm.klass_source_file)},
  };
  for (const Group& group : groups) {
    if (group.there) continue;
    reason->Append("the VM's tables lack ").Append(group.what);
    return false;
  }
  return true;
}

}  // namespace

ReadResult ReadVmStructs(const Module& libjvm, VmStructs* structs, TextBuffer* reason) {
  *structs = {};
  ReadResult result = Reader(libjvm, structs, reason).Run();
  if (result != ReadResult::kDone) return result;
  if (!CheckLayout(*structs, reason)) return ReadResult::kUnusable;
  int32_t major = 0;
  // Set by a static initializer too.
  if (!Read(static_cast<uintptr_t>(structs->vm_major), &major) || major == 0) return ReadResult::kNotYet;
  // JDK 8 calls its VM 25; it is told by its single code heap.
  bool is_8 = structs->Has(structs->code_heap);
  structs->bcp_slot = is_8 ? -7 : -8;
  structs->unsigned5_bias = !is_8 && major >= 20 ? 1 : 0;
  structs->source_file_in_pool = structs->Has(structs->pool_source_file);
  // On the stack it takes up whole pairs of words. Source: ContinuationEntry::size() of OpenJDK.
  int64_t& entry_bytes = structs->cont_entry_bytes;
  if (structs->Has(entry_bytes)) entry_bytes = (entry_bytes + 15) & ~int64_t{15};
  return ReadResult::kDone;
}

size_t VmFieldCount() {
  return kWantedCount;
}

VmField VmFieldAt(size_t index) {
  return {kWanted[index].type, kWanted[index].name, kWanted[index].jdks};
}

bool HasVmField(const Module& libjvm, size_t index) {
  char text[128];
  TextBuffer reason(text, sizeof(text));
  return Reader(libjvm, nullptr, &reason).Has(index);
}

}  // namespace leakshim::vm
