// What may stand before a text profile's own first line: `%` commands, and the table of names of a symbolized profile.
#pragma once

#include "profile/profile.h"
#include "profile/text_lines.h"

namespace leakshim {

// Reads up to the first line of what follows, which is then the current one. False: nothing follows.
bool ParseSymbolSection(TextLines* lines, Profile* profile);

}  // namespace leakshim
