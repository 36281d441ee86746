#include "unwind/frame_rules.h"

#include <elf.h>
#include <link.h>

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

  // From `address` to the end of the readable segment that it lies in: between segments a module may have holes.
  static Reader In(const Module& module, uintptr_t address) {
    if (address < module.start || address >= module.end) return {0, 0, false};
    if (module.program_headers == 0) return {address, module.end};
    const auto* segments = reinterpret_cast<const ElfW(Phdr)*>(module.program_headers);
    for (uint32_t i = 0; i < module.program_header_count; i++) {
      const ElfW(Phdr)& segment = segments[i];
      uintptr_t start = module.bias + segment.p_vaddr;
      bool readable = segment.p_type == PT_LOAD && (segment.p_flags & PF_R) != 0;
      if (readable && address >= start && address - start < segment.p_memsz) return {address, start + segment.p_memsz};
    }
    return {0, 0, false};
  }

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

  // A length and as many bytes.
  Reader Block() {
    uint64_t bytes = Uleb();
    Reader block{at, at};
    Skip(bytes);
    block.end = at;
    return block;
  }

  // A pointer in DW_EH_PE encoding, absolute or relative to its own place, as compilers emit them in .eh_frame.
  uintptr_t Encoded(uint8_t encoding) {
    uintptr_t base = 0;
    switch (encoding & 0xf0) {
      case 0x00:
        break;
      case 0x10:
        base = at;
        break;
      case 0x50:  // aligned: a plain pointer at the next multiple of 8
        Skip(-at & 7);
        break;
      default:  // relative to something else, or the place of a pointer
        ok = false;
    }
    switch (encoding & 0x0f) {
      case 0x00:
      case 0x04:
      case 0x0c:
        return base + Fixed<uint64_t>();
      case 0x01:
        return base + Uleb();
      case 0x02:
        return base + Fixed<uint16_t>();
      case 0x03:
        return base + Fixed<uint32_t>();
      case 0x09:
        return base + static_cast<uintptr_t>(Sleb());
      case 0x0a:
        return base + static_cast<uintptr_t>(int64_t{Fixed<int16_t>()});
      case 0x0b:
        return base + static_cast<uintptr_t>(int64_t{Fixed<int32_t>()});
      default:
        ok = false;
        return 0;
    }
  }
};

// --- the frame program ----------------------------------------------------------------------------------------------

constexpr uint64_t kRbx = 3, kRbp = 6, kRsp = 7, kReturnAddress = 16;

struct Place {
  enum Kind : uint8_t { kSame, kAtCfa, kUndefined, kOther } kind;
  int64_t offset;  // kAtCfa: from the CFA, bytes
};

struct Row {
  uint64_t cfa_register;
  int64_t cfa_offset;
  Reader cfa_expression;  // at 0: register and offset hold
  Place rbp, rbx, return_address;
};

struct Cie {
  uint64_t code_alignment;
  int64_t data_alignment;
  uint8_t pointer_encoding;
  bool has_augmentation_data, signal_frame;
  Reader instructions;
};

// One entry of .eh_frame: its contents behind the length and the identifier. False: the end, or a form not used there.
bool ReadEntry(const Module& module, uintptr_t start, Reader* contents, uint32_t* identifier) {
  Reader in = Reader::In(module, start);
  auto length = in.Fixed<uint32_t>();
  if (!in.ok || length == 0 || length == ~uint32_t{0} || length > in.end - in.at) return false;
  in.end = in.at + length;
  *identifier = in.Fixed<uint32_t>();
  *contents = in;
  return in.ok;
}

// What the letters of a CIE's augmentation announce.
bool ReadAugmentation(const char* letters, Reader* in, Cie* cie) {
  if (*letters == 0) return true;
  if (*letters != 'z') return false;
  cie->has_augmentation_data = true;
  uint64_t bytes = in->Uleb();
  Reader extra{in->at, in->end};
  in->Skip(bytes);
  extra.end = in->at;
  for (letters++; *letters != 0; letters++) {
    switch (*letters) {
      case 'R':
        cie->pointer_encoding = extra.Fixed<uint8_t>();
        break;
      case 'L':
        extra.Fixed<uint8_t>();
        break;
      case 'S':
        cie->signal_frame = true;
        break;
      case 'P': {
        auto encoding = extra.Fixed<uint8_t>();
        // Only its length matters; what it is relative to does not.
        constexpr uint8_t kOmitted = 0xff, kAligned = 0x50;
        if (encoding != kOmitted) extra.Encoded(encoding == kAligned ? encoding : encoding & 0x0f);
        break;
      }
      default:
        return false;
    }
  }
  return in->ok && extra.ok;
}

bool ReadCie(const Module& module, uintptr_t start, Cie* cie) {
  Reader in{0, 0};
  uint32_t identifier;
  if (!ReadEntry(module, start, &in, &identifier) || identifier != 0) return false;
  auto version = in.Fixed<uint8_t>();
  const auto* augmentation = reinterpret_cast<const char*>(in.at);
  while (in.ok && in.Fixed<uint8_t>() != 0) {
  }
  if (!in.ok) return false;
  if (version == 4) {
    auto address_bytes = in.Fixed<uint8_t>(), segment_bytes = in.Fixed<uint8_t>();
    if (address_bytes != 8 || segment_bytes != 0) return false;
  } else if (version != 1 && version != 3) {
    return false;
  }
  if (strcmp(augmentation, "eh") == 0) {  // of GCC 2
    in.Fixed<uint64_t>();
    augmentation += 2;
  }
  cie->code_alignment = in.Uleb();
  cie->data_alignment = in.Sleb();
  uint64_t return_register = version == 1 ? in.Fixed<uint8_t>() : in.Uleb();
  if (return_register != kReturnAddress || !ReadAugmentation(augmentation, &in, cie)) return false;
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
  // Unsigned, because a damaged table may hold any number.
  auto scaled = [&](uint64_t factor) {
    return static_cast<int64_t>(factor * static_cast<uint64_t>(cie.data_alignment));
  };
  auto advance = [&](uint64_t delta) { *location += delta * cie.code_alignment; };
  // A damaged length must not make one walk take long.
  constexpr uintptr_t kMostBytes = 256 << 10;
  if (in.end - in.at > kMostBytes) return false;
  while (in.at < in.end) {
    auto op = in.Fixed<uint8_t>();
    uint64_t low = op & 0x3f;
    switch (op & 0xc0) {
      case 0x40:
        advance(low);
        break;
      case 0x80:
        set(low, {Place::kAtCfa, scaled(in.Uleb())});
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
            set(reg, {Place::kAtCfa, scaled(in.Uleb())});
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
            row->cfa_expression = {0, 0};
            break;
          case 0x0d:
            row->cfa_register = in.Uleb();
            break;
          case 0x0e:
            row->cfa_offset = static_cast<int64_t>(in.Uleb());
            break;
          case 0x0f:  // def_cfa_expression
            row->cfa_expression = in.Block();
            break;
          case 0x10:    // expression
          case 0x16: {  // val_expression
            uint64_t reg = in.Uleb();
            in.Block();
            set(reg, {Place::kOther, 0});
            break;
          }
          case 0x11: {  // offset_extended_sf
            uint64_t reg = in.Uleb();
            set(reg, {Place::kAtCfa, scaled(static_cast<uint64_t>(in.Sleb()))});
            break;
          }
          case 0x12:  // def_cfa_sf
            row->cfa_register = in.Uleb();
            row->cfa_offset = scaled(static_cast<uint64_t>(in.Sleb()));
            row->cfa_expression = {0, 0};
            break;
          case 0x13:
            row->cfa_offset = scaled(static_cast<uint64_t>(in.Sleb()));
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
            set(reg, {Place::kAtCfa, scaled(-in.Uleb())});
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

// --- CFA expressions ------------------------------------------------------------------------------------------------

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
bool OffsetFromRsp(Reader expression, uintptr_t rip, int64_t* offset) {
  uint64_t at_zero, elsewhere;
  constexpr uint64_t kElsewhere = (uint64_t{1} << 40) + 8;
  if (!Evaluate(expression, 0, rip, &at_zero) || !Evaluate(expression, kElsewhere, rip, &elsewhere)) return false;
  *offset = static_cast<int64_t>(at_zero);
  return elsewhere - at_zero == kElsewhere;
}

// --- finding the description of an address --------------------------------------------------------------------------

struct Fde {
  Cie cie;
  uintptr_t begin;
  Reader instructions;
};

// Reads the entry at `start`. False: it is not one that describes the function that `pc` lies in.
bool ReadFde(const Module& module, uintptr_t start, uintptr_t pc, Fde* fde) {
  Reader in{0, 0};
  uint32_t cie_distance;
  if (!ReadEntry(module, start, &in, &cie_distance) || cie_distance == 0) return false;
  uintptr_t cie_field = start + 4;
  if (cie_distance > cie_field - module.start) return false;
  fde->cie = {};
  if (!ReadCie(module, cie_field - cie_distance, &fde->cie)) return false;
  fde->begin = in.Encoded(fde->cie.pointer_encoding);
  uintptr_t range = in.Encoded(fde->cie.pointer_encoding & 0x0f);
  if (fde->cie.has_augmentation_data) in.Skip(in.Uleb());
  fde->instructions = in;
  return in.ok && pc >= fde->begin && pc - fde->begin < range;
}

// Entry by entry, where the linker made no sorted table.
bool ScanForFde(const Module& module, uintptr_t eh_frame, uintptr_t pc, Fde* fde) {
  constexpr int kMostEntries = 20'000;
  for (int i = 0; i < kMostEntries; i++) {
    Reader in{0, 0};
    uint32_t identifier;
    if (!ReadEntry(module, eh_frame, &in, &identifier)) return false;
    if (identifier != 0 && ReadFde(module, eh_frame, pc, fde)) return true;
    eh_frame = in.end;
  }
  return false;
}

// The description of the function that `pc` lies in. False: there is none.
bool FindFde(const Module& module, uintptr_t pc, Fde* fde) {
  uintptr_t header = module.eh_frame_hdr;
  Reader in = Reader::In(module, header);
  auto version = in.Fixed<uint8_t>();
  auto frame_encoding = in.Fixed<uint8_t>();
  auto count_encoding = in.Fixed<uint8_t>();
  auto table_encoding = in.Fixed<uint8_t>();
  if (!in.ok || version != 1) return false;
  uintptr_t eh_frame = in.Encoded(frame_encoding);
  // What every linker emits, if any: a table of pairs of 32-bit offsets from the header.
  constexpr uint8_t kUdata4 = 0x03, kDataRelativeSdata4 = 0x3b;
  if (count_encoding != kUdata4 || table_encoding != kDataRelativeSdata4) {
    return in.ok && ScanForFde(module, eh_frame, pc, fde);
  }
  uint64_t count = in.Fixed<uint32_t>();
  struct Pair {
    int32_t start, fde;
  };
  if (!in.ok || count == 0 || count > (in.end - in.at) / sizeof(Pair) || in.at % alignof(Pair) != 0) return false;
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
  return table[low].start <= wanted &&
         ReadFde(module, header + static_cast<uintptr_t>(int64_t{table[low].fde}), pc, fde);
}

// --- the shared table -----------------------------------------------------------------------------------------------

using Entry = FrameRuleEntry;

constexpr int kMaxGenerations = 6;
constexpr size_t kFirstEntries = 1024;  // 16 KiB
constexpr size_t kProbes = 8;
// A table stays three quarters empty: most rules are found at the first look, which is all that a walk takes.
constexpr size_t kEntriesPerRule = 4;

constexpr size_t EntryCount(int generation) {
  return kFirstEntries << (2 * static_cast<unsigned>(generation));
}

constinit Atomic<Entry*> generations[kMaxGenerations];
constinit Atomic<int> generation_count{0};
constinit Atomic<size_t> rule_counts[kMaxGenerations];

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

size_t PlaceOf(const Module& module, uintptr_t return_address) {
  return FrameRuleTable::PlaceOf(return_address, FrameRuleTable::Salt(module.id));
}

void Store(const Module& module, uintptr_t return_address, FrameRule rule) {
  uint64_t key = NativeFrame(return_address, module.id);
  for (;;) {
    int count = generation_count.load(std::memory_order_acquire);
    if (count > 0) {
      Entry* table = generations[count - 1].load(std::memory_order_acquire);
      for (size_t probe = 0; probe < kProbes; probe++) {
        Entry& entry = table[(PlaceOf(module, return_address) + probe) & (EntryCount(count - 1) - 1)];
        uint64_t there = 0;
        // relaxed: the claim orders nothing; the rule's store below publishes.
        if (entry.key.compare_exchange_strong(there, key, std::memory_order_relaxed)) {
          entry.rule.store(rule.word, std::memory_order_release);
          size_t rules = rule_counts[count - 1].fetch_add(1, std::memory_order_relaxed) + 1;
          if (rules == EntryCount(count - 1) / kEntriesPerRule) AddGeneration(count);
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
  if (!FindFde(module, pc, &fde)) {
    // Nothing called what is returned to at its very beginning: the bottom of a stack that was laid out by hand, such
    // as makecontext's.
    bool entered = FindFde(module, return_address, &fde) && fde.begin == return_address;
    return FrameRule::Of(entered ? FrameRule::kOutermost : FrameRule::kUnusable);
  }
  const Cie& cie = fde.cie;
  if (cie.signal_frame) return FrameRule::Of(FrameRule::kSignal);

  Row row{kRsp, 8, {0, 0}, {Place::kSame, 0}, {Place::kSame, 0}, {Place::kSame, 0}};
  uintptr_t location = fde.begin;
  if (!Run(cie.instructions, cie, ~uintptr_t{0}, &location, row, &row)) return kGiveUp;
  Row initial = row;
  location = fde.begin;
  // Run() stops behind the row that holds; what it changed after passing pc must not count, so it works row by row: the
  // location only ever moves by an advance, and an advance changes nothing else.
  if (!Run(fde.instructions, cie, pc, &location, initial, &row)) return kGiveUp;

  if (row.return_address.kind == Place::kUndefined) return FrameRule::Of(FrameRule::kOutermost);
  if (row.return_address.kind != Place::kAtCfa || row.return_address.offset != -8) return kGiveUp;
  if (row.cfa_expression.at != 0) {
    if (!OffsetFromRsp(row.cfa_expression, pc, &row.cfa_offset)) return kGiveUp;
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
  int count = generation_count.load(std::memory_order_acquire);
  for (int g = count - 1; g >= 0; g--) {
    const Entry* table = generations[g].load(std::memory_order_acquire);
    for (size_t probe = 0; probe < kProbes; probe++) {
      const Entry& entry = table[(PlaceOf(module, return_address) + probe) & (EntryCount(g) - 1)];
      uint64_t there = entry.key.load(std::memory_order_relaxed);
      if (there == key) {
        // acquire: pairs with Store(). 0: claimed a moment ago; then it is worked out here as well.
        uint64_t word = entry.rule.load(std::memory_order_acquire);
        if (word == 0) return ComputeFrameRule(module, return_address);
        // Where the next walk finds it sooner.
        if (g != count - 1) Store(module, return_address, {word});
        return {word};
      }
      if (there == 0) break;
    }
  }
  FrameRule rule = ComputeFrameRule(module, return_address);
  Store(module, return_address, rule);
  return rule;
}

FrameRuleTable FrameRuleTable::Newest() {
  static constinit Entry none{};
  FrameRuleTable table;
  int count = generation_count.load(std::memory_order_acquire);
  const Entry* entries = count == 0 ? &none : generations[count - 1].load(std::memory_order_acquire);
  static_assert(sizeof(Entry) == 16);
  table.entries_ = reinterpret_cast<uintptr_t>(entries);
  table.mask_ = count == 0 ? 0 : (EntryCount(count - 1) - 1) * sizeof(Entry);
  return table;
}

}  // namespace leakshim
