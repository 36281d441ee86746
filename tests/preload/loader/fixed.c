/* A program that is not position-independent and takes the addresses of malloc and free: then these are stubs of its
 * own. */
#include <stdio.h>
#include <stdlib.h>

void* (*volatile allocate)(size_t) = &malloc;
void (*volatile release)(void*) = &free;

__attribute__((noinline)) static void* site_of_blocks(void) {
  void* block = allocate(1000);
  __asm__ volatile("" ::: "memory");
  return block;
}

int main(void) {
  static void* blocks[100];
  for (int i = 0; i < 100; i++) blocks[i] = site_of_blocks();
  for (int i = 0; i < 50; i++) release(blocks[i]);
  puts("fine");
  return blocks[99] == NULL;
}
