// Starts a JVM whose tables about itself were edited first:
//
//   doctored LIBJVM EDIT [JVM OPTION]... -- CLASS [ARGUMENT]...
//
// EDIT is `none` or one of
//   drop TYPE FIELD              the entry is gone (it has another field's name)
//   string TYPE FIELD TEXT       the entry's type is TEXT
//   offset TYPE FIELD NUMBER     the field lies there, or its address is NUMBER if it is static
//   static TYPE FIELD            a static field is not, and the other way round
//   drop-type TYPE               the type is gone
//   size TYPE NUMBER             the type has this many bytes
//   drop-int NAME, int NAME NUMBER, drop-long NAME, long NAME NUMBER    the same of a constant
//   no-table SYMBOL              gHotSpotVMStructs or another pointer to a table is null
//   wild-table SYMBOL            it points where no memory is
//   endless SYMBOL               the table ends with its mapping, without a last entry
//   stride SYMBOL NUMBER         gHotSpotVMStructEntryArrayStride or another number about the tables' layout is NUMBER
// as one argument, with blanks between the words. The tables are copied, the copy is edited, and the JVM's pointers
// then point to the copy, as early as the JVM's library can be loaded.

#include <dlfcn.h>
#include <jni.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leakshim.h"

static void* libjvm;

static void fail(const char* what, const char* detail) {
  fprintf(stderr, "doctored: %s: %s\n", what, detail);
  exit(2);
}

static void* symbol(const char* name) {
  void* address = dlsym(libjvm, name);
  if (address == NULL) fail("no symbol", name);
  return address;
}

static uint64_t number_at(const char* name) {
  return *(uint64_t*)symbol(name);
}

struct table {
  char* entries;
  size_t stride, count, name;
};

// Copies the table to which `pointer` points, up to and with its last entry, whose name is null.
static struct table copy_table(const char* pointer, const char* stride, const char* name_offset) {
  struct table table = {*(char**)symbol(pointer), number_at(stride), 0, number_at(name_offset)};
  while (*(char**)(table.entries + table.count * table.stride + table.name) != NULL) table.count++;
  size_t bytes = (table.count + 1) * table.stride;
  char* copy = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) fail("mmap", pointer);
  table.entries = memcpy(copy, table.entries, bytes);
  *(char**)symbol(pointer) = copy;
  return table;
}

static char* words[4];

static uint64_t number(void) {
  const char* text = words[3] != NULL ? words[3] : words[2];
  if (text == NULL) fail("a number is missing after", words[0]);
  return strtoull(text, NULL, 0);
}

static void edit_field(void) {
  struct table table =
      copy_table("gHotSpotVMStructs", "gHotSpotVMStructEntryArrayStride", "gHotSpotVMStructEntryTypeNameOffset");
  const size_t field_name = number_at("gHotSpotVMStructEntryFieldNameOffset");
  for (size_t i = 0; i < table.count; i++) {
    char* entry = table.entries + i * table.stride;
    if (strcmp(*(char**)(entry + table.name), words[1]) != 0) continue;
    if (strcmp(*(char**)(entry + field_name), words[2]) != 0) continue;
    int32_t* is_static = (int32_t*)(entry + number_at("gHotSpotVMStructEntryIsStaticOffset"));
    if (strcmp(words[0], "drop") == 0) *(const char**)(entry + field_name) = "doctored";
    if (strcmp(words[0], "string") == 0)
      *(const char**)(entry + number_at("gHotSpotVMStructEntryTypeStringOffset")) = words[3];
    if (strcmp(words[0], "offset") == 0) {
      const char* where = *is_static ? "gHotSpotVMStructEntryAddressOffset" : "gHotSpotVMStructEntryOffsetOffset";
      *(uint64_t*)(entry + number_at(where)) = number();
    }
    if (strcmp(words[0], "static") == 0) *is_static = !*is_static;
    return;
  }
  fail("no such field", words[2]);
}

static void edit_named(const char* pointer, const char* stride, const char* name, const char* value,
                       size_t value_bytes) {
  struct table table = copy_table(pointer, stride, name);
  for (size_t i = 0; i < table.count; i++) {
    char* entry = table.entries + i * table.stride;
    if (strcmp(*(char**)(entry + table.name), words[1]) != 0) continue;
    uint64_t changed = strncmp(words[0], "drop", 4) == 0 ? 0 : number();
    if (strncmp(words[0], "drop", 4) == 0) {
      *(const char**)(entry + table.name) = "doctored";
    } else {
      memcpy(entry + number_at(value), &changed, value_bytes);
    }
    return;
  }
  fail("no such name", words[1]);
}

// The table's last entry is overwritten with its first, and the mapping ends behind it.
static void make_endless(void) {
  char stride[64], name[64];
  const int of_type = (int)strlen(words[1]) - 1;  // gHotSpotVMStructs -> gHotSpotVMStruct
  snprintf(stride, sizeof stride, "%.*sEntryArrayStride", of_type, words[1]);
  snprintf(name, sizeof name, "%.*sEntry%sOffset", of_type, words[1],
           strstr(words[1], "Constants") ? "Name" : "TypeName");
  struct table table = copy_table(words[1], stride, name);
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = table.count * table.stride;
  const size_t whole = (bytes + page - 1) / page * page;
  char* room = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED || mprotect(room + whole, page, PROT_NONE) != 0) fail("mmap", words[1]);
  *(char**)symbol(words[1]) = memcpy(room + whole - bytes, table.entries, bytes);
}

static void edit(char* text) {
  size_t count = 0;
  for (char* word = strtok(text, " "); word != NULL && count < 4; word = strtok(NULL, " ")) words[count++] = word;
  const char* verb = words[0];
  if (strcmp(verb, "none") == 0) return;
  if (words[1] == NULL) fail("incomplete edit", verb);
  if (strcmp(verb, "drop-type") == 0 || strcmp(verb, "size") == 0) {
    edit_named("gHotSpotVMTypes", "gHotSpotVMTypeEntryArrayStride", "gHotSpotVMTypeEntryTypeNameOffset",
               "gHotSpotVMTypeEntrySizeOffset", 8);
  } else if (strcmp(verb, "drop-int") == 0 || strcmp(verb, "int") == 0) {
    edit_named("gHotSpotVMIntConstants", "gHotSpotVMIntConstantEntryArrayStride",
               "gHotSpotVMIntConstantEntryNameOffset", "gHotSpotVMIntConstantEntryValueOffset", 4);
  } else if (strcmp(verb, "drop-long") == 0 || strcmp(verb, "long") == 0) {
    edit_named("gHotSpotVMLongConstants", "gHotSpotVMLongConstantEntryArrayStride",
               "gHotSpotVMLongConstantEntryNameOffset", "gHotSpotVMLongConstantEntryValueOffset", 8);
  } else if (strcmp(verb, "no-table") == 0) {
    *(char**)symbol(words[1]) = NULL;
  } else if (strcmp(verb, "wild-table") == 0) {
    *(uintptr_t*)symbol(words[1]) = 0x7;
  } else if (strcmp(verb, "endless") == 0) {
    make_endless();
  } else if (strcmp(verb, "stride") == 0) {
    *(uint64_t*)symbol(words[1]) = number();
  } else {
    edit_field();
  }
}

static uint64_t samples_so_far(void) {
  struct leakshim_counters counters = {0};
  if (leakshim_read_counters) leakshim_read_counters(&counters, sizeof counters);
  return counters.samples;
}

int main(int argc, char** argv) {
  if (argc < 5) fail("arguments", "LIBJVM EDIT [OPTION]... -- CLASS [ARGUMENT]...");
  // What the library needs is loaded before, so that fewer allocations count.
  dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL);
  uint64_t samples = samples_so_far();
  libjvm = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
  if (libjvm == NULL) fail("dlopen", dlerror());
  if (samples_so_far() != samples) return 7;
  edit(argv[2]);
  JavaVMOption options[64];
  jint option_count = 0;
  int next = 3;
  for (; next < argc && option_count < 64 && strcmp(argv[next], "--") != 0; next++)
    options[option_count++].optionString = argv[next];
  if (++next >= argc) fail("arguments", "no class");
  char* class_name = argv[next++];
  for (char* c = class_name; *c != 0; c++) *c = *c == '.' ? '/' : *c;

  JavaVMInitArgs arguments = {JNI_VERSION_1_8, option_count, options, JNI_FALSE};
  JavaVM* vm;
  JNIEnv* env;
  jint (*create)(JavaVM**, void**, void*);
  *(void**)&create = symbol("JNI_CreateJavaVM");
  if (create(&vm, (void**)&env, &arguments) != JNI_OK) fail("no JVM", argv[1]);
  jclass main_class = (*env)->FindClass(env, class_name);
  jmethodID main_method =
      main_class ? (*env)->GetStaticMethodID(env, main_class, "main", "([Ljava/lang/String;)V") : NULL;
  jclass string = (*env)->FindClass(env, "java/lang/String");
  if (main_method == NULL || string == NULL) {
    (*env)->ExceptionDescribe(env);
    return 3;
  }
  jobjectArray values = (*env)->NewObjectArray(env, argc - next, string, NULL);
  for (int i = next; i < argc; i++)
    (*env)->SetObjectArrayElement(env, values, i - next, (*env)->NewStringUTF(env, argv[i]));
  (*env)->CallStaticVoidMethod(env, main_class, main_method, values);
  if ((*env)->ExceptionCheck(env)) {
    (*env)->ExceptionDescribe(env);
    return 4;
  }
  return (*vm)->DestroyJavaVM(vm) == JNI_OK ? 0 : 5;
}
