// Whether a program is, or a process has, a JVM, and whether stacks will have its Java frames.
#pragma once

#include <string>

#include "leakshim/control_pages.h"
#include "leakshim/finding.h"
#include "leakshim/process_files.h"

namespace leakshim {

// `program`: a file that is to be started. Nothing is found where it is no Java launcher.
void CheckJavaLauncher(const std::string& program, const ProcessFiles& here, Findings* findings);

// What the newest dump says, else what the mapped libjvm.so promises. Nothing is found where there is no JVM.
// `dump`: the newest one, as it can be opened here, or empty.
void CheckJvm(const ProcessFiles& process, const std::string& dump, Findings* findings);

}  // namespace leakshim
