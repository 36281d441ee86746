// Calls of the kinds that readers of profiles name differently: inlined, overloaded, recursive, templates, members, a
// lambda in a thread. Compiled with and without debug information, by CMake.
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace ns {
struct Node {
  std::string text;
  std::vector<int> numbers;
};
template <typename T>
__attribute__((noinline)) std::vector<T>* make_vector(size_t n) {
  return new std::vector<T>(n);
}
static inline __attribute__((always_inline)) void* inner(size_t n) {
  return malloc(n);
}
static inline __attribute__((always_inline)) void* middle(size_t n) {
  return inner(n + 1);
}
__attribute__((noinline)) void* outer(size_t n) {
  void* p = middle(n);
  memset(p, 1, n);
  return p;
}
struct Cache {
  std::map<int, std::unique_ptr<Node>> nodes;
  __attribute__((noinline)) void put(int key, unsigned long size) {
    auto node = std::make_unique<Node>();
    node->text.assign(size, 'x');
    node->numbers.resize(size);
    nodes[key] = std::move(node);
  }
  __attribute__((noinline)) void put(const char* key) { put(atoi(key), 300); }
};
__attribute__((noinline)) void* recurse(int depth, size_t n) {
  if (depth == 0) return calloc(n, 1);
  void* p = recurse(depth - 1, n);
  return p ? p : malloc(1);
}
}  // namespace ns

static void* keep[1 << 20];
static int kept;

__attribute__((noinline)) void overloaded(int n) {
  for (int i = 0; i < n; ++i) keep[kept++] = malloc(1000 + i % 100);
}
__attribute__((noinline)) void overloaded(double n) {
  for (int i = 0; i < n; ++i) keep[kept++] = malloc(2000 + i % 100);
}

int main() {
  ns::Cache cache;
  for (int i = 0; i < 2000; ++i) cache.put(i, 100 + i % 900);
  cache.put("4711");
  for (int i = 0; i < 3000; ++i) keep[kept++] = ns::outer(50 + i % 400);
  for (int i = 0; i < 300; ++i) keep[kept++] = ns::make_vector<double>(i);
  for (int i = 0; i < 300; ++i) keep[kept++] = ns::make_vector<char>(i);
  for (int i = 0; i < 300; ++i) keep[kept++] = ns::recurse(i % 7, 777);
  overloaded(1000);
  overloaded(500.0);
  std::thread t([] {
    for (int i = 0; i < 500; ++i) keep[kept++] = strdup("a string that is of some length, so that it takes memory");
    overloaded(300);
  });
  t.join();
  exit(0);
}
