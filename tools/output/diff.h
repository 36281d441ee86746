// What changed, as the table that users of UMDH know, and for programs.
#pragma once

#include <string>

#include "report/diff.h"

namespace leakshim {

struct DiffTextOptions {
  size_t top = 0;  // rows at most; 0: what is significant, and the largest of the rest
  size_t width = 110;
};

std::string DiffText(const DiffReport& report, const FrameTable& frames, const DiffTextOptions& options);
std::string DiffJson(const DiffReport& report, const FrameTable& frames);

}  // namespace leakshim
