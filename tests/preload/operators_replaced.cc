// A program with an operator new and delete of its own, from a pool that free() knows nothing of. The other forms,
// which it leaves to the C++ library, must find its two.

#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

alignas(16) char pool[1 << 20];
char* volatile base = pool;  // what the compiler may not know to be no heap
size_t used;
int news, deletes;

struct Thing {
  ~Thing() { touched = 0; }
  volatile int touched = 1;
};

}  // namespace

void* operator new(size_t bytes) {
  news++;
  char* block = base + used;
  used += (bytes + 15) & ~size_t{15};
  return block;
}

void operator delete(void* block) noexcept {
  deletes++;
  if (block < base || block >= base + sizeof(pool)) abort();
}

int main() {
  Thing* volatile one = new Thing;
  delete one;  // sized
  Thing* volatile many = new Thing[10];
  delete[] many;  // sized array
  ::operator delete(::operator new(10, std::nothrow), std::nothrow);
  ::operator delete[](::operator new[](10, std::nothrow), std::nothrow);
  ::operator delete (::operator new(10), size_t{10});
  void* volatile aligned = ::operator new (100, std::align_val_t{64});
  ::operator delete (aligned, std::align_val_t{64});
  printf("%d news, %d deletes\n", news, deletes);
}
