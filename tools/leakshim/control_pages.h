// The control pages (libleakshim/control_page.h) that can be found and trusted.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "control_page.h"

namespace leakshim {

// A living process's page, mapped into this one, or a copy of what a dead one left; `page` is null where there is none.
struct Page {
  std::string path;   // as it can be opened here
  std::string files;  // to be put before paths that the process tells; empty: it sees what we see
  int pid = 0;        // here, whatever it is to itself
  bool alive = false;
  std::shared_ptr<ControlPage> page;
  ControlPage* operator->() const { return page.get(); }
};

// All pages that can be opened, ordered by pid: of this user, and of everybody for root. Those of living processes in
// containers, or with a /tmp of their own, are among them where the kernel lets this user look at such a process. Of
// dead ones, of which there may be a hundred thousand where a host kills its workers, the latest kMostDead alone, as
// copies; the files of the others go to `older`, if not null.
inline constexpr size_t kMostDead = 20;
std::vector<Page> Pages(std::vector<std::string>* older = nullptr);

// The page of the living process `pid`, or none.
Page PageOf(int pid);

// Directories that hold pages: of `uid`, and of everybody for root.
std::vector<std::string> PageDirectories(unsigned uid, const char* temporary);

// A process's start in clock ticks since boot, as /proc/PID/stat has it; 0: no such process.
unsigned long long StartTicks(int pid);

// Makes a text of a page end and do nothing to a terminal, whatever somebody wrote there.
void CleanText(char* text, size_t bytes);

}  // namespace leakshim
