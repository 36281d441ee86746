// prof_only: whether this program is one of those that the user wants to see.
#pragma once

#include "os/text.h"

namespace leakshim {

// Whether `name` is one of `patterns`, which slashes separate: `*` any text, `?` any character, the rest itself.
bool MatchesAny(Slice patterns, Slice name);

// `patterns` empty: every program is wanted. Else the name of the executable's file or of the command, both without
// folders, must match (python3 is a link to python3.11). Context: the constructor.
bool IsWanted(const char* patterns, const char* command);

}  // namespace leakshim
