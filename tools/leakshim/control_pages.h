// The control pages (libleakshim/control_page.h) that can be found and trusted.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "control_page.h"

namespace leakshim {

// A page mapped into this process; `page` is null where there is none.
struct Page {
  std::string path;   // as it can be opened here
  std::string files;  // to be put before paths that the process tells; empty: it sees what we see
  int pid = 0;        // here, whatever it is to itself
  bool alive = false;
  std::shared_ptr<ControlPage> page;
  ControlPage* operator->() const { return page.get(); }
};

// All pages that can be opened, ordered by pid: of this user, and of everybody for root. Those of living processes in
// containers, or with a /tmp of their own, are among them where the kernel lets this user look at such a process.
std::vector<Page> Pages();

// The page of the living process `pid`, or none.
Page PageOf(int pid);

// Directories that hold pages: of `uid`, and of everybody for root.
std::vector<std::string> PageDirectories(unsigned uid, const char* temporary);

// A process's start in clock ticks since boot, as /proc/PID/stat has it; 0: no such process.
unsigned long long StartTicks(int pid);

// Makes a text of a page end and do nothing to a terminal, whatever somebody wrote there.
void CleanText(char* text, size_t bytes);

}  // namespace leakshim
