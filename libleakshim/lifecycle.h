// Arms the library when it is loaded and lets it say its last word at exit.
#pragma once

namespace leakshim {

// Runs as the library's only initialiser, with the program's arguments as the loader gives them.
void OnLoad(int argument_count, char** arguments, char** environment);

// Runs as the library's only finaliser: after the program's own exit handlers and static destructors.
void OnExit();

}  // namespace leakshim
