// What the library says to a person: single lines on stderr, and only where something does not work.
//
// Context: anywhere. A line is written only while descriptor 2 is still the file that it was at start: a daemon may
// have closed it and opened a file of its own under that number.
#pragma once

#include <cstddef>

#include "os/format.h"

namespace leakshim::os {

// Remembers what descriptor 2 is. Context: the constructor.
void InitMessages();

// A TextBuffer::Sink to stderr; `context` is not used.
int WriteToStderr(void* context, const char* text, size_t bytes);

// "Permission denied" for EACCES or -EACCES; "error 5" for what has no text here.
void AppendError(TextBuffer& out, int64_t error);

}  // namespace leakshim::os
