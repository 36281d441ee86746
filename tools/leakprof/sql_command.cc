#include "leakprof/sql_command.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "database/database.h"
#include "database/loader.h"
#include "leakprof/series_reader.h"
#include "leakprof/series_tools.h"
#include "leakprof/talk.h"
#include "report/frame_table.h"
#include "symbolize/elf_symbolizer.h"

namespace leakshim {

int RunSql(const Flags& flags, const AllocatorFrames& allocator_frames) {
  const std::vector<std::string> paths = flags.files.empty() ? std::vector<std::string>{"."} : flags.files;
  const absl::StatusOr<std::vector<std::string>> files = FindDumps(paths);
  if (!files.ok() || files->empty()) {
    Say(files.ok() ? absl::StrCat(paths.front(), ": no dumps (*.heap) there") : files.status().message());
    return kUnreadable;
  }
  const absl::StatusOr<std::unique_ptr<Database>> database = OpenDatabase(flags.sql);
  if (!database.ok()) {
    Say(database.status().message());
    return kUnreadable;
  }
  ElfSymbolizer symbolizer(SymbolizerOptions(flags, *files));
  FrameTable frames(&symbolizer, &allocator_frames);
  Loader loader(database->get(), &frames);
  absl::Status status = loader.Begin();
  ReadCounts read;
  if (status.ok()) {
    Progress progress(files->size());
    read = ReadSeries(
        *files,
        [&](const Profile& profile, double file_time) {
          if (status.ok()) status = loader.Add(profile, file_time);
          return status.ok();
        },
        [&](size_t done) { progress.Show(done); });
  }
  if (status.ok()) status = loader.Finish();
  for (const std::string& warning : read.warnings) Say(warning);
  for (const std::string& warning : symbolizer.TakeWarnings()) Say(warning);
  for (const std::string& error : read.errors) Say(absl::StrCat(error, " (left out)"));
  if (!status.ok()) {
    Say(status.message());
    return kUnreadable;
  }
  const LoadCounts& counts = loader.counts();
  const bool told = Print(absl::StrCat(ShownTarget(flags.sql), ": ", counts.added, " dumps of ", counts.processes,
                                       " processes added, ", counts.known, " were there\n"));
  return told && read.errors.empty() ? kDone : kUnreadable;
}

}  // namespace leakshim
