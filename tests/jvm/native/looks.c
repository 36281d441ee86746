// Looks which JVMs there are, as a launcher does: opens and closes each libjvm.so that it is told, several times, while
// another thread allocates. Then it starts the last one and ends it:
//     looks [--sandbox] LIBRARY...
// --sandbox: where process_vm_readv is refused, as container runtimes do on old kernels.

#include <dlfcn.h>
#include <errno.h>
#include <jni.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static atomic_int looking = 1;

static void allocate(void) {
  for (int i = 0; i < 100; i++) free(malloc(100));
}

static void* allocate_meanwhile(void* unused) {
  while (atomic_load(&looking)) allocate();
  return unused;
}

static int refuse_reads(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

int main(int argc, char** argv) {
  int first = argc > 1 && strcmp(argv[1], "--sandbox") == 0 ? 2 : 1;
  if (first == argc || (first == 2 && !refuse_reads())) return 4;
  pthread_t meanwhile;
  if (pthread_create(&meanwhile, NULL, &allocate_meanwhile, NULL) != 0) return 4;
  for (int round = 0; round < 10; round++) {
    for (int i = first; i < argc; i++) {
      void* library = dlopen(argv[i], RTLD_NOW);
      if (library == NULL) return 1;
      // unknown_jvm.c is no JVM of ours.
      int (*run)(int);
      *(void**)&run = dlsym(library, "unknown_jvm_run");
      if (run != NULL && run(10) != 0) return 1;
      allocate();
      dlclose(library);
      allocate();
      // It must be gone, or nothing is tested.
      if (dlopen(argv[i], RTLD_NOW | RTLD_NOLOAD) != NULL) return 2;
    }
  }
  atomic_store(&looking, 0);
  pthread_join(meanwhile, NULL);
  void* library = dlopen(argv[argc - 1], RTLD_NOW);
  jint (*create)(JavaVM**, void**, void*) = NULL;
  if (library != NULL) *(void**)&create = dlsym(library, "JNI_CreateJavaVM");
  JavaVM* vm;
  void* env;
  JavaVMInitArgs arguments = {JNI_VERSION_1_8, 0, NULL, JNI_FALSE};
  if (create == NULL || create(&vm, &env, &arguments) != JNI_OK || (*vm)->DestroyJavaVM(vm) != JNI_OK) return 3;
  dlclose(library);
  allocate();
  puts("done");
  return 0;
}
