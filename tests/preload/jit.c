/* A runtime that compiles: two functions made of bytes in anonymous memory, each of which calls malloc, and a perf map
 * that names them. Written before the dump with the argument `map`; not at all without. Prints
 *     code <start of make_rows> <its size> <start of make_index> <its size>
 *     dump <path>
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { kSize = 64, kBlocks = 100 };

/* push rbp; mov rbp, rsp; movabs rax, malloc; call rax; pop rbp; ret */
static void compile(unsigned char* code) {
  static const unsigned char kCode[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0xb8, 0,    0,    0,
                                        0,    0,    0,    0,    0,    0xff, 0xd0, 0x5d, 0xc3};
  void* (*callee)(size_t) = malloc;
  memcpy(code, kCode, sizeof(kCode));
  memcpy(code + 6, &callee, sizeof(callee));
}

void* volatile kept[2 * kBlocks];

int main(int argc, char** argv) {
  unsigned char* code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return 1;
  compile(code);
  compile(code + kSize);
  if (mprotect(code, 4096, PROT_READ | PROT_EXEC) != 0) return 1;
  if (argc > 1 && strcmp(argv[1], "map") == 0) {
    char path[64];
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    FILE* map = fopen(path, "w");
    if (map == NULL) return 1;
    fprintf(map, "%lx 1000 an earlier function here\n", (unsigned long)(uintptr_t)code);
    fprintf(map, "%lx %x JS:*make_rows /srv/rules.js:12:3\n", (unsigned long)(uintptr_t)code, kSize);
    fprintf(map, "%lx %x JS:~(anonymous) /srv/rules.js:40\n", (unsigned long)(uintptr_t)(code + kSize), kSize);
    fclose(map);
  }
  void* (*make_rows)(size_t);
  void* (*make_index)(size_t);
  unsigned char* second = code + kSize;
  memcpy(&make_rows, &code, sizeof(code));
  memcpy(&make_index, &second, sizeof(second));
  for (int i = 0; i < kBlocks; i++) {
    kept[2 * i] = make_rows(1000);
    kept[2 * i + 1] = make_index(24);
  }
  char dump[4096] = "";
  /* Looked up: in a program at a fixed address a weak function that the linker does not find is none for ever. */
  int (*leakshim_dump)(char*, size_t);
  void* found = dlsym(RTLD_DEFAULT, "leakshim_dump");
  memcpy(&leakshim_dump, &found, sizeof(found));
  if (leakshim_dump == NULL || leakshim_dump(dump, sizeof(dump)) != 0) return 3;
  printf("code %lx %x %lx %x\ndump %s\n", (unsigned long)(uintptr_t)code, kSize, (unsigned long)(uintptr_t)second,
         kSize, dump);
  return 0;
}
