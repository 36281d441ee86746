#include "leakprof/listing_command.h"

#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "leakprof/debug_files_from.h"
#include "report/listing.h"
#include "symbolize/elf_symbolizer.h"
#include "symbolize/run_tool.h"

namespace leakshim {

std::vector<JeprofLibrary> LibrariesOf(const Flags& flags, const ProfileSum& sum, std::vector<std::string>* warnings) {
  DebugFiles debug_files(DebugFilesFrom(flags));
  std::map<std::string, std::unique_ptr<ElfImage>> images;  // by path; null: none that will do
  std::map<std::string, std::string> files;
  std::map<std::pair<std::string, uint64_t>, bool> seen;
  std::vector<JeprofLibrary> libraries;
  for (const Location& location : sum.locations()) {
    if (location.no_stack || location.profile->symbolized) continue;
    const CodePlace place = FindCode(*location.profile, location.address, location.module_id);
    const std::string path(place.path);
    if (path.empty() || path[0] != '/') continue;
    auto [entry, added] = images.try_emplace(path);
    if (added) {
      const std::string program_path(location.profile->Fact("about.executable"));
      for (const std::string& file : ElfSymbolizer::CandidateFiles(flags.sysroots, flags.program, program_path, path)) {
        absl::StatusOr<std::unique_ptr<ElfImage>> image = ElfImage::Open(file, &debug_files);
        if (!image.ok()) continue;
        if (!place.build_id.empty() && (*image)->build_id() != place.build_id) {
          warnings->push_back(absl::StrCat(file, ": is not the file that was profiled; left out"));
          continue;
        }
        entry->second = *std::move(image);
        files[path] = file;
        break;
      }
    }
    if (entry->second == nullptr) continue;
    const std::optional<uint64_t> address =
        place.is_elf_address ? place.offset : entry->second->AddressOfOffset(place.offset);
    if (!address.has_value()) continue;
    const uint64_t bias = location.address - *address;
    if (seen.try_emplace({path, bias}).second) libraries.push_back({.image = files[path], .start = bias});
  }
  return libraries;
}

ExitStatus RunListing(const Flags& flags, const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options,
                      Unit unit, const JeprofNames* jeprof_names, std::string* text) {
  const auto fail = [](const absl::Status& status) {
    Say(status.message());
    return absl::IsInvalidArgument(status) ? kBadUsage : kUnreadable;
  };
  std::vector<std::string> warnings;
  std::unique_ptr<JeprofNames> own;
  if (jeprof_names == nullptr) {
    absl::StatusOr<std::unique_ptr<JeprofNames>> made =
        JeprofNames::OfLibraries({.tools = flags.tools, .debug_syms_by_id = true}, LibrariesOf(flags, sum, &warnings));
    if (!made.ok()) return fail(made.status());
    own = *std::move(made);
    jeprof_names = own.get();
  }
  const absl::StatusOr<std::string> objdump = FindTool(flags.tools, "objdump");
  if (!objdump.ok()) return fail(objdump.status());
  const absl::StatusOr<std::vector<PlaceValue>> values = MakePlaceValues(sum, names, options);
  if (!values.ok()) return fail(values.status());
  const ListingOptions form{.pattern = flags.routine, .objdump = *objdump, .jeprof_compat = flags.jeprof_compat};
  const size_t before = text->size();
  if (flags.mode == Mode::kList) {
    const absl::StatusOr<std::vector<SourceListing>> listings =
        MakeSourceListings(*values, *jeprof_names, form, &warnings);
    if (!listings.ok()) return fail(listings.status());
    absl::StrAppend(text, SourceReport(*listings, unit));
  } else {
    const absl::StatusOr<std::vector<CodeListing>> listings = MakeCodeListings(*values, *jeprof_names, form);
    if (!listings.ok()) return fail(listings.status());
    absl::StrAppend(text, CodeReport(*listings, unit));
  }
  for (const std::string& warning : warnings) Say(warning);
  if (text->size() == before && warnings.empty()) {
    Say(absl::StrCat("no function that matches ", flags.routine, " holds anything"));
  }
  return kDone;
}

}  // namespace leakshim
