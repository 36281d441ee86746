// The picture of processes as one HTML file that needs nothing else.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "report/overview.h"

namespace leakshim {

struct HtmlOptions {
  std::string version;                // of leakprof
  std::vector<std::string> warnings;  // about what was read
};

// The page without its data, which goes to where kHtmlDataMark stands; empty: this leakprof was built without it.
absl::string_view HtmlPage();
inline constexpr absl::string_view kHtmlDataMark = "@leakprof-data@";

// The data: one JSON object, which tools/html/src/data.js takes apart. Safe inside a script element whatever names are
// in it.
std::string HtmlData(const Overview& overview, const FrameTable& frames, const HtmlOptions& options);

// Page and data.
std::string HtmlReport(const Overview& overview, const FrameTable& frames, const HtmlOptions& options);

}  // namespace leakshim
