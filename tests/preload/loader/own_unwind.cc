// A program that walks its own stack with its own libunwind, and throws, while it is sampled.

#define UNW_LOCAL_ONLY
#include <libunwind.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../check.h"

namespace {

__attribute__((noinline)) int Walk() {
  void* frames[64];
  return unw_backtrace(frames, 64);
}

__attribute__((noinline)) int Deep(int depth) {
  if (depth == 0) {
    void* volatile block = malloc(3000);
    free(block);
    return Walk();
  }
  int frames = Deep(depth - 1);
  void* volatile block = malloc(40);
  free(block);
  return frames;
}

void Throw(int i) {
  std::string text(static_cast<size_t>(i % 1000), 'x');
  throw std::runtime_error(text);
}

void Work() {
  int shallow = Deep(0);
  for (int i = 0; i < 2'000; i++) {
    CHECK(Deep(20) == shallow + 20);
    bool caught = false;
    try {
      Throw(i);
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()).size() == static_cast<size_t>(i % 1000);
    }
    CHECK(caught);
  }
}

}  // namespace

int main() {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++) threads.emplace_back(&Work);
  for (auto& thread : threads) thread.join();
  puts("fine");
}
