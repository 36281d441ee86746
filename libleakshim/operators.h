// The C++ operators new and delete, all twenty forms, as the program calls them. Each is one jump, to one of three
// places that the look-up decides when the library starts, for each form by itself:
//
//  - the malloc library behind us has the form, and has it first: the program's `new` would never reach our malloc, so
//    it is counted here, then the library's own form runs, with the same size and alignment (where that turns out to
//    call the public malloc, which counts, this one stops counting);
//  - another object has it first (libstdc++, or somebody's own): that one runs, as it would without us. It calls
//    malloc, which is ours and counts; array, sized and nothrow forms find what the program replaced;
//  - nobody has it (a C program, whose plugins may bring libstdc++ later): malloc and free, as libstdc++ would; when
//    memory is out, the form of whoever is loaded by then takes over, for its new_handler and bad_alloc.
//
// So a block is counted once whichever way it goes, nothing here throws, and libstdc++ is not needed.
#pragma once

struct link_map;

namespace leakshim {

// `self`: this library; `malloc_owner`: the object of the next malloc. Context: once, in ResolveNextMalloc().
void ResolveNextOperators(const link_map* self, const link_map* malloc_owner);

}  // namespace leakshim
