/* forward.c's malloc and free over glibc's with a direct jump each, which is written into the code at the start: what
 * no library can go below, and why ours does not go there README.md tells. calloc and realloc are left to glibc. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void* __libc_malloc(size_t bytes);
void __libc_free(void* block);

/* By glibc's names for them, which are bound when the library is loaded: before the first call. */
__asm__(
    ".text\n"
    ".p2align 12\n"
    ".globl malloc\n.type malloc, @function\nmalloc: jmp *__libc_malloc@GOTPCREL(%rip)\n"
    ".p2align 6\n"
    ".globl free\n.type free, @function\nfree: jmp *__libc_free@GOTPCREL(%rip)\n"
    ".p2align 12\n");
extern char own_malloc[] __asm__("malloc"), own_free[] __asm__("free");

static void write_jump(char* at, uintptr_t to) {
  intptr_t distance = (intptr_t)(to - (uintptr_t)at - 5);
  int32_t distance32 = (int32_t)distance;
  if (distance32 != distance) abort();
  at[0] = (char)0xe9;
  memcpy(at + 1, &distance32, sizeof(distance32));
}

__attribute__((constructor)) static void write_jumps(void) {
  size_t page = (size_t)getpagesize();
  if (mprotect(own_malloc, page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0) abort();
  write_jump(own_malloc, (uintptr_t)&__libc_malloc);
  write_jump(own_free, (uintptr_t)&__libc_free);
  if (mprotect(own_malloc, page, PROT_READ | PROT_EXEC) != 0) abort();
}
