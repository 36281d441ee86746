#include "profile/profile.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

const Module* FindModuleById(const Profile& profile, uint64_t id) {
  for (const Module& module : profile.modules) {
    if (module.id == id) return &module;
  }
  return nullptr;
}

const PcName* ChoosePc(const Profile& profile, uint64_t address, uint64_t module_id) {
  auto found = profile.pcs.find(address);
  if (found == profile.pcs.end()) return nullptr;
  for (const PcName& name : found->second) {
    if (name.module_id == module_id) return &name;
  }
  return &found->second.front();
}

// The pieces of `<prefix>.<pid>.<seq>.<kind><n>.heap`, packed or not.
struct DumpName {
  absl::string_view process;  // <prefix>.<pid>
  uint64_t sequence = 0;
};

DumpName ParseDumpName(absl::string_view name) {
  if (!absl::ConsumeSuffix(&name, ".gz")) absl::ConsumeSuffix(&name, ".zst");
  if (!absl::ConsumeSuffix(&name, ".heap")) return {};
  const size_t kind_dot = name.rfind('.');
  if (kind_dot == absl::string_view::npos || kind_dot == 0) return {};
  absl::string_view kind = name.substr(kind_dot + 1);
  if (kind.empty() || !absl::ascii_isalpha(static_cast<unsigned char>(kind[0]))) return {};
  kind.remove_prefix(1);
  if (!std::all_of(kind.begin(), kind.end(), [](char c) { return c >= '0' && c <= '9'; })) return {};
  const absl::string_view before_kind = name.substr(0, kind_dot);
  const size_t sequence_dot = before_kind.rfind('.');
  if (sequence_dot == absl::string_view::npos) return {};
  const absl::string_view process = before_kind.substr(0, sequence_dot);
  uint64_t pid = 0;
  DumpName result;
  if (!absl::SimpleAtoi(before_kind.substr(sequence_dot + 1), &result.sequence)) return {};
  if (!absl::SimpleAtoi(process.substr(process.rfind('.') + 1), &pid)) return {};
  result.process = process;
  return result;
}

}  // namespace

absl::string_view Profile::Fact(absl::string_view key) const {
  auto found = facts.find(key);
  return found == facts.end() ? absl::string_view() : found->second;
}

const JavaFrame* FindJavaFrame(const Profile& profile, uint64_t address) {
  auto found = profile.java.find(address);
  if (found == profile.java.end()) found = profile.java.find(address + 1);
  return found == profile.java.end() ? nullptr : &found->second;
}

CodePlace FindCode(const Profile& profile, uint64_t address, uint64_t module_id) {
  CodePlace place;
  // Recorded addresses are those of the frames: the leaf's as it is, a caller's one beyond the look-up address.
  const PcName* pc = ChoosePc(profile, address, module_id);
  uint64_t before_pc = 0;
  if (pc == nullptr && address != ~uint64_t{0}) {
    pc = ChoosePc(profile, address + 1, module_id);
    before_pc = 1;
  }
  if (pc != nullptr) {
    place.recorded = pc;
    const Module* module = FindModuleById(profile, pc->module_id);
    if (module == nullptr) return place;
    place.path = module->path;
    place.build_id = module->build_id;
    place.offset = pc->elf_address - before_pc;
    place.is_elf_address = !pc->is_file_offset;
    return place;
  }
  for (const Module& module : profile.modules) {
    if (address < module.start || address >= module.end || (module_id != 0 && module.id != module_id)) continue;
    place.path = module.path;
    place.build_id = module.build_id;
    place.offset = address - module.bias;
    place.is_elf_address = true;
    return place;
  }
  if (const Mapping* mapping = FindMapping(profile.mappings, address)) {
    place.path = mapping->path;
    place.offset = address - mapping->start + mapping->file_offset;
    place.deleted = mapping->deleted;
    place.inode = mapping->inode;
  }
  return place;
}

LoadedRange FindLoadedRange(const Profile& profile, uint64_t address, uint64_t module_id) {
  if (const PcName* pc = ChoosePc(profile, address, module_id); pc != nullptr && pc->is_file_offset) {
    const Module* module = FindModuleById(profile, pc->module_id);
    if (module == nullptr) return LoadedRange{};
    return LoadedRange{.start = module->start, .end = module->end, .file_offset = module->start - module->bias};
  }
  const Mapping* mapping = FindMapping(profile.mappings, address);
  for (const Module& module : profile.modules) {
    if (address < module.start || address >= module.end || (module_id != 0 && module.id != module_id)) continue;
    // The map is of the dump's time; the module may be gone by then.
    if (mapping != nullptr && mapping->path == module.path) break;
    return LoadedRange{.start = module.start, .end = module.end};
  }
  if (mapping == nullptr) return LoadedRange{};
  return LoadedRange{.start = mapping->start, .end = mapping->end, .file_offset = mapping->file_offset};
}

std::string ProcessKey(const Profile& profile) {
  const absl::string_view pid = profile.Fact("about.pid");
  if (!pid.empty()) {
    return absl::StrCat(profile.Fact("about.boot_id"), "/", profile.Fact("about.host"), "/", pid, "/",
                        profile.Fact("about.start_time"));
  }
  return std::string(ParseDumpName(profile.name).process);
}

uint64_t DumpSequence(const Profile& profile) {
  uint64_t sequence = 0;
  if (absl::SimpleAtoi(profile.Fact("about.seq"), &sequence)) return sequence;
  double time = 0;
  if (absl::SimpleAtod(profile.Fact("about.dump_time"), &time) && time > 0 && time < 1e15) {
    return static_cast<uint64_t>(time * 1000);
  }
  return ParseDumpName(profile.name).sequence;
}

}  // namespace leakshim
