// Where things are in HotSpot's memory, read from the tables that libjvm exports for the serviceability agent
// (gHotSpotVMStructs, gHotSpotVMTypes): found through our own symbol look-up, by reading alone.
//
// Nothing is taken on trust: an offset must lie inside its type, a static field inside libjvm, a type string must fit,
// and what the walker cannot do without must be there. Otherwise a reason says what does not fit, and Java frames stay
// off.
//
// Context: hooks; ReadVmStructs() by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/format.h"
#include "unwind/module_map.h"

namespace leakshim::vm {

// By the members of vm_fields.def: offsets in objects, addresses of statics and sizes, in bytes. kNone: this JVM has no
// such thing.
struct VmStructs {
  static constexpr int64_t kNone = -1;

  int64_t thread_osthread, osthread_pthread_id, thread_stack_base, thread_stack_size, thread_anchor;
  int64_t anchor_sp, anchor_pc, anchor_fp, call_wrapper_anchor;
  int64_t thread_list, thread_list_length, thread_list_threads, thread_list_first, thread_next;
  int64_t thread_cont_entry, cont_return_pc, cont_entry_bytes;
  int64_t upcall_frame_data_offset, upcall_anchor;
  int64_t compiler_env, env_task, task_method;
  int64_t code_heaps, code_heap, array_length, array_data;
  int64_t code_heap_memory, code_heap_segmap, code_heap_log2_segment, space_low, space_high;
  int64_t heap_block_bytes, heap_block_used;
  int64_t call_stub_return, interpreter_code, stub_queue_buffer, stub_queue_limit;
  int64_t blob_name, blob_bytes, blob_frame_words, blob_frame_complete;
  int64_t blob_code_begin, blob_code_offset;
  int64_t blob_mutable_data, blob_relocation_bytes;
  int64_t nmethod_method, nmethod_compile_id, nmethod_orig_pc_offset;
  int64_t nmethod_scopes_data_begin, nmethod_scopes_data_offset, nmethod_scopes_pcs_offset;
  int64_t nmethod_dependencies_offset, nmethod_metadata_offset, nmethod_immutable_data, nmethod_immutable_bytes;
  int64_t nmethod_deopt_begin, nmethod_deopt_mh_begin, nmethod_deopt_offset, nmethod_deopt_mh_offset;
  int64_t pc_desc_bytes, pc_desc_pc_offset, pc_desc_scope_offset;
  int64_t method_const, method_access;
  int64_t const_method_bytes, const_method_pool, const_method_words, const_method_flags, const_method_code_bytes,
      const_method_name;
  int64_t pool_bytes, pool_holder, pool_length, pool_source_file, klass_source_file, klass_name;
  int64_t symbol_length, symbol_length_and_refcount, symbol_body;
  int64_t object_klass, vm_release, vm_major;

  // What the table does not say but follows from the JDK.
  int64_t bcp_slot;          // of an interpreted frame, in words from fp
  uint8_t unsigned5_bias;    // what the encoding of debug information adds to each byte (JDK 20 on)
  bool source_file_in_pool;  // else in the class

  bool Has(int64_t member) const { return member != kNone; }
};

enum class ReadResult : uint8_t {
  kDone,
  kNotYet,    // libjvm's constructors have not run
  kUnusable,  // no HotSpot, or one that does not fit: `reason` says what
};

// Reads the tables of `libjvm`.
ReadResult ReadVmStructs(const Module& libjvm, VmStructs* structs, TextBuffer* reason);

// For tests: which entries of the table there are, and the JDKs that should have them.
struct VmField {
  const char* type;
  const char* name;  // nullptr: the type's size
  const char* jdks;
};
size_t VmFieldCount();
VmField VmFieldAt(size_t index);
// Whether the tables of `libjvm` have that entry, with a type string that fits.
bool HasVmField(const Module& libjvm, size_t index);

}  // namespace leakshim::vm
