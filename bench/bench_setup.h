// The runtime's rooms, set up once for a benchmark program.
#pragma once

namespace leakshim {

// Everything that a sample needs; any thread, any number of times.
void InitForBench();

// No samples, no index. Context: no other thread is in the books.
void ResetBooks();

}  // namespace leakshim
