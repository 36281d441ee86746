// A library that is called libjvm.so, runs generated code, and is not HotSpot. UNKNOWN_JVM says what it has of
// HotSpot's tables: 0 nothing, 1 the symbols with nothing in them, 2 numbers that make no sense.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if UNKNOWN_JVM > 0
#define EXPORTED __attribute__((visibility("default")))
#if UNKNOWN_JVM == 1
#define POINTER 0
#define NUMBER 0
#else
#define POINTER 0x1001
#define NUMBER 0x7fffffffffff0001
#endif
EXPORTED void* gHotSpotVMStructs = (void*)POINTER;
EXPORTED void* gHotSpotVMTypes = (void*)POINTER;
EXPORTED void* gHotSpotVMIntConstants = (void*)POINTER;
EXPORTED void* gHotSpotVMLongConstants = (void*)POINTER;
EXPORTED uint64_t gHotSpotVMStructEntryArrayStride = NUMBER;
EXPORTED uint64_t gHotSpotVMStructEntryTypeNameOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMStructEntryFieldNameOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMStructEntryTypeStringOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMStructEntryIsStaticOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMStructEntryOffsetOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMStructEntryAddressOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMTypeEntryArrayStride = NUMBER;
EXPORTED uint64_t gHotSpotVMTypeEntryTypeNameOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMTypeEntrySuperclassNameOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMTypeEntrySizeOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMIntConstantEntryArrayStride = NUMBER;
EXPORTED uint64_t gHotSpotVMIntConstantEntryNameOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMIntConstantEntryValueOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMLongConstantEntryArrayStride = NUMBER;
EXPORTED uint64_t gHotSpotVMLongConstantEntryNameOffset = NUMBER;
EXPORTED uint64_t gHotSpotVMLongConstantEntryValueOffset = NUMBER;
#endif

__attribute__((noinline)) void unknown_jvm_block(void) {
  char* volatile block = malloc(5000);  // forgotten on purpose
  if (block != NULL) *block = 1;
}

// push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret
static const unsigned char kCode[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};

int unknown_jvm_run(int calls) {
  void* code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return 1;
  memcpy(code, kCode, sizeof kCode);
  void (*generated)(void (*)(void));
  memcpy(&generated, &code, sizeof generated);
  for (int i = 0; i < calls; i++) generated(unknown_jvm_block);
  return 0;
}
