#include "unwind/frame_rules.h"

#include <cstring>

#include "os/atomic.h"
#include "os/os.h"

namespace leakshim {
namespace {

// --- reading encoded data -------------------------------------------------------------------------------------------

// A place in a module's mapped tables. Past its end everything reads as zero and `ok` is false.
struct Reader {
  uintptr_t at, end;
  bool ok = true;

  template <typename T>
  T Fixed() {
    T value{};
    if (at > end || end - at < sizeof(T)) {
      ok = false;
      return value;
    }
    memcpy(&value, reinterpret_cast<const void*>(at), sizeof(T));
    at += sizeof(T);
    return value;
  }

  uint64_t Uleb() {
    uint64_t value = 0;
    for (unsigned shift = 0; ok; shift += 7) {
      auto byte = Fixed<uint8_t>();
      if (shift < 64) value |= uint64_t{byte & 0x7fu} << shift;
      if ((byte & 0x80) == 0) break;
    }
    return value;
  }

  int64_t Sleb() {
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte = 0x80;
    for (; ok && (byte & 0x80) != 0; shift += 7) {
      byte = Fixed<uint8_t>();
      if (shift < 64) value |= uint64_t{byte & 0x7fu} << shift;
    }
    if (shift < 64 && (byte & 0x40) != 0) value |= ~uint64_t{0} << shift;
    return static_cast<int64_t>(value);
  }

  void Skip(uint64_t bytes) {
    if (at > end || bytes > end - at) {
      ok = false;
    } else {
      at += bytes;
    }
  }

  // A pointer in DW_EH_PE encoding; relative ones only to themselves, as compilers emit them in .eh_frame.
  uintptr_t Encoded(uint8_t encoding) {
    uintptr_t base = (encoding & 0x70) == 0x10 ? at : 0;
    if ((encoding & 0x70) != 0x10 && (encoding & 0x70) != 0) ok = false;
    switch (encoding & 0x0f) {
      case 0x00:
        return base + Fixed<uint64_t>();
      case 0x02:
        return base + Fixed<uint16_t>();
      case 0x03:
        return base + Fixed<uint32_t>();
      case 0x04:
        return base + Fixed<uint64_t>();
      case 0x0a:
        return base + static_cast<uintptr_t>(int64_t{Fixed<int16_t>()});
      case 0x0b:
        return base + static_cast<uintptr_t>(int64_t{Fixed<int32_t>()});
      case 0x0c:
        return base + Fixed<uint64_t>();
      default:
        ok = false;
        return 0;
    }
  }
};

// --- the frame program
// ------------------------------------------------------------------------------------------------

constexpr uint64_t kRbx = 3, kRbp = 6, kRsp = 7, kReturnAddress = 16;

struct Place {
  enum Kind : uint8_t { kSame, kAtCfa, kUndefined, kOther } kind;
  int64_t offset;  // kAtCfa: from the CFA, bytes
};

struct Row {
  uint64_t cfa_register;
  int64_t cfa_offset;
  uintptr_t cfa_expression;  // address of its length; 0: register and offset hold
  Place rbp, rbx, return_address;
};

struct Cie {
  uint64_t code_alignment;
  int64_t data_alignment;
  uint8_t pointer_encoding;
  bool has_augmentation_data, signal_frame;
  Reader instructions;
};

bool ReadCie(uintptr_t start, uintptr_t module_end, Cie* cie) {
  Reader in{start, module_end};
  auto length = in.Fixed<uint32_t>();
  if (!in.ok || length == 0 || length == ~uint32_t{0} || length > module_end - in.at) return false;
  in.end = in.at + length;
  if (in.Fixed<uint32_t>() != 0) return false;  // not a CIE
  auto version = in.Fixed<uint8_t>();
  uintptr_t augmentation = in.at;
  while (in.ok && in.Fixed<uint8_t>() != 0) {
  }
  if (!in.ok || (version != 1 && version != 3)) return false;
  cie->code_alignment = in.Uleb();
  cie->data_alignment = in.Sleb();
  uint64_t return_register = version == 1 ? in.Fixed<uint8_t>() : in.Uleb();
  if (return_register != kReturnAddress) return false;
  cie->pointer_encoding = 0;
  const auto* letter = reinterpret_cast<const char*>(augmentation);
  if (*letter == 'z') {
    cie->has_augmentation_data = true;
    uint64_t bytes = in.Uleb();
    uintptr_t data = in.at;
    in.Skip(bytes);
    Reader extra{data, in.at};
    for (letter++; *letter != 0; letter++) {
      switch (*letter) {
        case 'R':
          cie->pointer_encoding = extra.Fixed<uint8_t>();
          break;
        case 'L':
          extra.Fixed<uint8_t>();
          break;
        case 'S':
          cie->signal_frame = true;
          break;
        case 'B':
          break;
        case 'P': {
          auto encoding = extra.Fixed<uint8_t>();
          // Only its length matters; what it is relative to does not.
          extra.Encoded(encoding & 0x0f);
          break;
        }
        default:
          return false;
      }
    }
    if (!extra.ok) return false;
  } else if (*letter != 0) {
    return false;
  }
  cie->instructions = in;
  return in.ok;
}

// Runs one program up to the row that holds at `pc`. `location` moves along. False: something not understood.
bool Run(Reader in, const Cie& cie, uintptr_t pc, uintptr_t* location, const Row& initial, Row* row) {
  constexpr int kMaxRemembered = 6;
  Row remembered[kMaxRemembered];
  int depth = 0;
  auto place = [](auto* of, uint64_t reg) {
    return reg == kRbp ? &of->rbp : reg == kRbx ? &of->rbx : reg == kReturnAddress ? &of->return_address : nullptr;
  };
  auto set = [&](uint64_t reg, Place value) {
    if (Place* to = place(row, reg)) *to = value;
  };
  auto restore = [&](uint64_t reg) {
    if (Place* to = place(row, reg)) *to = *place(&initial, reg);
  };
  auto advance = [&](uint64_t delta) { *location += delta * cie.code_alignment; };
  while (in.at < in.end) {
    auto op = in.Fixed<uint8_t>();
    uint64_t low = op & 0x3f;
    switch (op & 0xc0) {
      case 0x40:
        advance(low);
        break;
      case 0x80:
        set(low, {Place::kAtCfa, static_cast<int64_t>(in.Uleb()) * cie.data_alignment});
        break;
      case 0xc0:
        restore(low);
        break;
      default:
        switch (op) {
          case 0x00:
            break;  // nop
          case 0x01:
            *location = in.Encoded(cie.pointer_encoding);
            break;  // set_loc
          case 0x02:
            advance(in.Fixed<uint8_t>());
            break;
          case 0x03:
            advance(in.Fixed<uint16_t>());
            break;
          case 0x04:
            advance(in.Fixed<uint32_t>());
            break;
          case 0x05: {  // offset_extended
            uint64_t reg = in.Uleb();
            set(reg, {Place::kAtCfa, static_cast<int64_t>(in.Uleb()) * cie.data_alignment});
            break;
          }
          case 0x06:
            restore(in.Uleb());
            break;  // restore_extended
          case 0x07:
            set(in.Uleb(), {Place::kUndefined, 0});
            break;
          case 0x08:
            set(in.Uleb(), {Place::kSame, 0});
            break;
          case 0x09: {  // register
            uint64_t reg = in.Uleb();
            in.Uleb();
            set(reg, {Place::kOther, 0});
            break;
          }
          case 0x0a:  // remember_state
            if (depth == kMaxRemembered) return false;
            remembered[depth++] = *row;
            break;
          case 0x0b:  // restore_state
            if (depth == 0) return false;
            *row = remembered[--depth];
            break;
          case 0x0c:  // def_cfa
            row->cfa_register = in.Uleb();
            row->cfa_offset = static_cast<int64_t>(in.Uleb());
            row->cfa_expression = 0;
            break;
          case 0x0d:
            row->cfa_register = in.Uleb();
            break;
          case 0x0e:
            row->cfa_offset = static_cast<int64_t>(in.Uleb());
            break;
          case 0x0f:  // def_cfa_expression
            row->cfa_expression = in.at;
            in.Skip(in.Uleb());
            break;
          case 0x10:    // expression
          case 0x16: {  // val_expression
            uint64_t reg = in.Uleb();
            in.Skip(in.Uleb());
            set(reg, {Place::kOther, 0});
            break;
          }
          case 0x11: {  // offset_extended_sf
            uint64_t reg = in.Uleb();
            set(reg, {Place::kAtCfa, in.Sleb() * cie.data_alignment});
            break;
          }
          case 0x12:  // def_cfa_sf
            row->cfa_register = in.Uleb();
            row->cfa_offset = in.Sleb() * cie.data_alignment;
            row->cfa_expression = 0;
            break;
          case 0x13:
            row->cfa_offset = in.Sleb() * cie.data_alignment;
            break;
          case 0x14: {  // val_offset
            uint64_t reg = in.Uleb();
            in.Uleb();
            set(reg, {Place::kOther, 0});
            break;
          }
          case 0x15: {  // val_offset_sf
            uint64_t reg = in.Uleb();
            in.Sleb();
            set(reg, {Place::kOther, 0});
            break;
          }
          case 0x2e:
            in.Uleb();
            break;      // GNU_args_size: of no use here
          case 0x2f: {  // GNU_negative_offset_extended
            uint64_t reg = in.Uleb();
            set(reg, {Place::kAtCfa, -static_cast<int64_t>(in.Uleb()) * cie.data_alignment});
            break;
          }
          default:
            return false;
        }
    }
    if (!in.ok) return false;
    // A row holds from its location on; the first location beyond pc ends the search.
    if (*location > pc) return true;
  }
  return true;
}

// --- CFA expressions
// ----------------------------------------------------------------------------------------------------

// Evaluates an expression over rsp and rip without memory access: what linkers emit for PLT entries. False: more than
// that.
bool Evaluate(Reader in, uint64_t rsp, uint64_t rip, uint64_t* result) {
  uint64_t stack[8];
  int depth = 0;
  while (in.ok && in.at < in.end) {
    auto op = in.Fixed<uint8_t>();
    if (op >= 0x30 && op <= 0x4f) {  // lit0..lit31
      if (depth == 8) return false;
      stack[depth++] = op - 0x30u;
    } else if (op == 0x70 + kRsp || op == 0x70 + kReturnAddress) {  // breg
      if (depth == 8) return false;
      stack[depth++] = (op == 0x70 + kRsp ? rsp : rip) + static_cast<uint64_t>(in.Sleb());
    } else if (op == 0x08) {  // const1u
      if (depth == 8) return false;
      stack[depth++] = in.Fixed<uint8_t>();
    } else {
      if (depth < 2) return false;
      uint64_t right = stack[--depth], &left = stack[depth - 1];
      switch (op) {
        case 0x1a:
          left &= right;
          break;
        case 0x1c:
          left -= right;
          break;
        case 0x22:
          left += right;
          break;
        case 0x24:
          left = right < 64 ? left << right : 0;
          break;
        case 0x2a:
          left = static_cast<int64_t>(left) >= static_cast<int64_t>(right);
          break;
        default:
          return false;
      }
    }
  }
  if (!in.ok || depth != 1) return false;
  *result = stack[0];
  return true;
}

// The expression as an offset from rsp, if that is what it comes to for this pc.
bool OffsetFromRsp(uintptr_t expression, uintptr_t module_end, uintptr_t rip, int64_t* offset) {
  Reader in{expression, module_end};
  uint64_t bytes = in.Uleb();
  if (!in.ok || bytes > in.end - in.at) return false;
  in.end = in.at + bytes;
  uint64_t at_zero, elsewhere;
  constexpr uint64_t kElsewhere = uint64_t{1} << 40;
  if (!Evaluate(in, 0, rip, &at_zero) || !Evaluate(in, kElsewhere, rip, &elsewhere)) return false;
  *offset = static_cast<int64_t>(at_zero);
  return elsewhere - at_zero == kElsewhere;
}

// --- finding the description of an address
// ------------------------------------------------------------------------------

// The FDE that .eh_frame_hdr's sorted table gives for `pc`, or 0.
uintptr_t FindFde(const Module& module, uintptr_t pc) {
  uintptr_t header = module.eh_frame_hdr;
  if (header < module.start || header + 12 > module.end) return 0;
  Reader in{header, module.end};
  auto version = in.Fixed<uint8_t>();
  auto frame_encoding = in.Fixed<uint8_t>();
  auto count_encoding = in.Fixed<uint8_t>();
  auto table_encoding = in.Fixed<uint8_t>();
  // What every linker emits: a table of pairs of 32-bit offsets from the header.
  if (version != 1 || count_encoding != 0x03 || table_encoding != 0x3b) return 0;
  in.Encoded(frame_encoding);
  uint64_t count = in.Fixed<uint32_t>();
  if (!in.ok || count == 0 || count > (module.end - in.at) / 8) return 0;
  struct Pair {
    int32_t start, fde;
  };
  const auto* table = reinterpret_cast<const Pair*>(in.at);
  auto wanted = static_cast<int64_t>(pc - header);
  size_t low = 0, high = count;  // table[low].start <= wanted, if any is
  while (high - low > 1) {
    size_t middle = (low + high) / 2;
    if (table[middle].start <= wanted) {
      low = middle;
    } else {
      high = middle;
    }
  }
  if (table[low].start > wanted) return 0;
  return header + static_cast<uintptr_t>(int64_t{table[low].fde});
}

struct Fde {
  Cie cie;
  uintptr_t begin;
  Reader instructions;
};

// The description of the function that `pc` lies in. False: there is none.
bool ReadFde(const Module& module, uintptr_t pc, Fde* fde) {
  uintptr_t start = FindFde(module, pc);
  if (start < module.start || start >= module.end) return false;
  Reader in{start, module.end};
  auto length = in.Fixed<uint32_t>();
  if (!in.ok || length == 0 || length == ~uint32_t{0} || length > module.end - in.at) return false;
  in.end = in.at + length;
  uintptr_t cie_field = in.at;
  auto cie_distance = in.Fixed<uint32_t>();
  if (cie_distance == 0 || cie_distance > cie_field - module.start) return false;
  fde->cie = {};
  if (!ReadCie(cie_field - cie_distance, module.end, &fde->cie)) return false;
  fde->begin = in.Encoded(fde->cie.pointer_encoding);
  uintptr_t range = in.Encoded(fde->cie.pointer_encoding & 0x0f);
  if (fde->cie.has_augmentation_data) in.Skip(in.Uleb());
  fde->instructions = in;
  return in.ok && pc >= fde->begin && pc - fde->begin < range;
}

// --- the shared table
// -----------------------------------------------------------------------------------------------------

struct Entry {
  Atomic<uint64_t> key;   // return address and module as a Frame; 0: empty
  Atomic<uint64_t> rule;  // 0: being computed
};

constexpr int kMaxGenerations = 4;
constexpr size_t kFirstEntries = 16 << 10;  // 256 KiB, touched as it fills
constexpr size_t kProbes = 8;

constexpr size_t EntryCount(int generation) {
  return kFirstEntries << (2 * static_cast<unsigned>(generation));
}

constinit Atomic<Entry*> generations[kMaxGenerations];
constinit Atomic<int> generation_count{0};
constinit Atomic<size_t> rule_count{0};

bool AddGeneration(int seen) {
  if (seen >= kMaxGenerations) return false;
  size_t bytes = EntryCount(seen) * sizeof(Entry);
  if (generations[seen].load(std::memory_order_acquire) == nullptr) {
    auto* table = static_cast<Entry*>(os::MapOwn(bytes));
    if (table == nullptr) return false;
    Entry* none = nullptr;
    if (!generations[seen].compare_exchange_strong(none, table, std::memory_order_acq_rel)) os::UnmapOwn(table, bytes);
  }
  // release: pairs with the loads of the count; the table is in its place.
  generation_count.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel);
  return true;
}

size_t PlaceOf(uint64_t key) {
  return (key * 0x9e3779b97f4a7c15u) >> 32;
}

void Store(uint64_t key, FrameRule rule) {
  for (;;) {
    int count = generation_count.load(std::memory_order_acquire);
    if (count > 0) {
      Entry* table = generations[count - 1].load(std::memory_order_acquire);
      for (size_t probe = 0; probe < kProbes; probe++) {
        Entry& entry = table[(PlaceOf(key) + probe) & (EntryCount(count - 1) - 1)];
        uint64_t there = 0;
        // relaxed: the claim orders nothing; the rule's store below publishes.
        if (entry.key.compare_exchange_strong(there, key, std::memory_order_relaxed)) {
          rule_count.fetch_add(1, std::memory_order_relaxed);
          entry.rule.store(rule.word, std::memory_order_release);
          return;
        }
        if (there == key) return;  // another thread, or a signal handler, is at the same
      }
    }
    // At the end of growth, or of memory, the rule is worked out each time.
    if (!AddGeneration(count)) return;
  }
}

}  // namespace

FrameRule ComputeFrameRule(const Module& module, uintptr_t return_address) {
  constexpr FrameRule kGiveUp = FrameRule::Of(FrameRule::kUnusable);
  // The call before the return address is what the frame is in: after a call that does not return, the address itself
  // may belong to another function.
  uintptr_t pc = return_address - 1;
  Fde fde{};
  if (!ReadFde(module, pc, &fde)) {
    // Nothing called what is returned to at its very beginning: the bottom of a stack that was laid out by hand, such
    // as makecontext's.
    bool entered = ReadFde(module, return_address, &fde) && fde.begin == return_address;
    return FrameRule::Of(entered ? FrameRule::kOutermost : FrameRule::kUnusable);
  }
  const Cie& cie = fde.cie;
  if (cie.signal_frame) return FrameRule::Of(FrameRule::kSignal);

  Row row{kRsp, 8, 0, {Place::kSame, 0}, {Place::kSame, 0}, {Place::kSame, 0}};
  uintptr_t location = fde.begin;
  if (!Run(cie.instructions, cie, ~uintptr_t{0}, &location, row, &row)) return kGiveUp;
  Row initial = row;
  location = fde.begin;
  // Run() stops behind the row that holds; what it changed after passing pc must not count, so it works row by row: the
  // location only ever moves by an advance, and an advance changes nothing else.
  if (!Run(fde.instructions, cie, pc, &location, initial, &row)) return kGiveUp;

  if (row.return_address.kind == Place::kUndefined) return FrameRule::Of(FrameRule::kOutermost);
  if (row.return_address.kind != Place::kAtCfa || row.return_address.offset != -8) return kGiveUp;
  if (row.cfa_expression != 0) {
    if (!OffsetFromRsp(row.cfa_expression, module.end, return_address, &row.cfa_offset)) return kGiveUp;
    row.cfa_register = kRsp;
  }
  FrameRule::Base base;
  switch (row.cfa_register) {
    case kRsp:
      base = FrameRule::kFromRsp;
      break;
    case kRbp:
      base = FrameRule::kFromRbp;
      break;
    case kRbx:
      base = FrameRule::kFromRbx;
      break;
    default:
      return kGiveUp;
  }
  // A register whose place is not understood is passed on as it is: it matters only where a caller's frame hangs on it,
  // and a wrong frame is caught by the walker's checks.
  auto saved = [](const Place& place) {
    bool usable = place.kind == Place::kAtCfa && place.offset % 8 == 0;
    return usable ? FrameRule::Saved{true, place.offset / 8} : FrameRule::Saved{};
  };
  return FrameRule::Step(base, row.cfa_offset, saved(row.rbp), saved(row.rbx));
}

FrameRule FindFrameRule(const Module& module, uintptr_t return_address) {
  uint64_t key = NativeFrame(return_address, module.id);
  // acquire: pairs with AddGeneration().
  for (int g = generation_count.load(std::memory_order_acquire) - 1; g >= 0; g--) {
    const Entry* table = generations[g].load(std::memory_order_acquire);
    for (size_t probe = 0; probe < kProbes; probe++) {
      const Entry& entry = table[(PlaceOf(key) + probe) & (EntryCount(g) - 1)];
      uint64_t there = entry.key.load(std::memory_order_relaxed);
      if (there == key) {
        // acquire: pairs with Store(). 0: claimed a moment ago; then it is worked out here as well.
        uint64_t word = entry.rule.load(std::memory_order_acquire);
        if (word != 0) return {word};
        return ComputeFrameRule(module, return_address);
      }
      if (there == 0) break;
    }
  }
  FrameRule rule = ComputeFrameRule(module, return_address);
  Store(key, rule);
  return rule;
}

size_t FrameRuleCountForTesting() {
  return rule_count.load(std::memory_order_relaxed);
}

}  // namespace leakshim
