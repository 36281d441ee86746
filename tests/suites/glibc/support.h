/* In place of glibc's support/ library: as much of it as the malloc tests of glibc 2.36 use. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_UNSUPPORTED 77
#define DEFAULT_TIMEOUT 20
#define array_length(array) (sizeof(array) / sizeof((array)[0]))
#define libc_hidden_proto(name)
#define _Static_assert_once _Static_assert

/* libc-diag.h */
#define DIAG_PUSH_NEEDS_COMMENT _Pragma("GCC diagnostic push")
#define DIAG_POP_NEEDS_COMMENT _Pragma("GCC diagnostic pop")
#define DIAG_IGNORE_NEEDS_COMMENT(version, option)
#define DIAG_IGNORE_Os_NEEDS_COMMENT(version, option)

__attribute__((unused)) static bool support_failed;
__attribute__((unused)) static unsigned test_verbose;

__attribute__((unused)) static void support_say(const char* file, int line, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

#define FAIL(...) (support_failed = true, support_say(__FILE__, __LINE__, __VA_ARGS__))
#define FAIL_RET(...) return FAIL(__VA_ARGS__), 1
#define FAIL_EXIT(status, ...) (FAIL(__VA_ARGS__), exit(status))
#define FAIL_EXIT1(...) FAIL_EXIT(1, __VA_ARGS__)
#define FAIL_UNSUPPORTED(...) (support_say(__FILE__, __LINE__, __VA_ARGS__), exit(EXIT_UNSUPPORTED))
#define support_record_failure() (support_failed = true)
#define TEST_VERIFY(condition) ((condition) ? (void)0 : FAIL("%s", #condition))
#define TEST_VERIFY_EXIT(condition) ((condition) ? (void)0 : FAIL_EXIT1("%s", #condition))
#define TEST_COMPARE(left, right) TEST_VERIFY((left) == (right))
#define verify(condition) TEST_VERIFY_EXIT(condition)

__attribute__((unused)) static void* support_not_null(void* block) {
  if (block == NULL) FAIL_EXIT1("out of memory");
  return block;
}
#define xmalloc(bytes) support_not_null(malloc(bytes))
#define xcalloc(count, bytes) support_not_null(calloc(count, bytes))
#define xrealloc(block, bytes) support_not_null(realloc(block, bytes))
#define xstrdup(text) ((char*)support_not_null(strdup(text)))

#define support_zero(call)                                                \
  do {                                                                    \
    int support_result = (call);                                          \
    if (support_result != 0) FAIL_EXIT1("%s: %d", #call, support_result); \
  } while (0)

__attribute__((unused)) static pthread_t xpthread_create(pthread_attr_t* attributes, void* (*run)(void*),
                                                         void* closure) {
  pthread_t thread;
  support_zero(pthread_create(&thread, attributes, run, closure));
  return thread;
}
__attribute__((unused)) static void* xpthread_join(pthread_t thread) {
  void* result;
  support_zero(pthread_join(thread, &result));
  return result;
}
__attribute__((unused)) static int xpthread_barrier_wait(pthread_barrier_t* barrier) {
  int result = pthread_barrier_wait(barrier);
  if (result != 0 && result != PTHREAD_BARRIER_SERIAL_THREAD) FAIL_EXIT1("pthread_barrier_wait: %d", result);
  return result;
}
#define xpthread_barrier_init(barrier, attributes, count) support_zero(pthread_barrier_init(barrier, attributes, count))
#define xpthread_barrier_destroy(barrier) support_zero(pthread_barrier_destroy(barrier))
#define xpthread_cancel(thread) support_zero(pthread_cancel(thread))
#define xpthread_attr_init(attributes) support_zero(pthread_attr_init(attributes))
#define xpthread_attr_destroy(attributes) support_zero(pthread_attr_destroy(attributes))
#define xpthread_attr_setstacksize(attributes, bytes) support_zero(pthread_attr_setstacksize(attributes, bytes))
#define xpthread_mutex_lock(mutex) support_zero(pthread_mutex_lock(mutex))
#define xpthread_mutex_unlock(mutex) support_zero(pthread_mutex_unlock(mutex))
#define xpthread_cond_wait(condition, mutex) support_zero(pthread_cond_wait(condition, mutex))
#define xpthread_cond_signal(condition) support_zero(pthread_cond_signal(condition))
#define xpthread_detach(thread) support_zero(pthread_detach(thread))

__attribute__((unused)) static pid_t xfork(void) {
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) FAIL_EXIT1("fork: %d", errno);
  return child;
}
__attribute__((unused)) static pid_t xwaitpid(pid_t child, int* status, int flags) {
  pid_t met = waitpid(child, status, flags);
  if (met < 0) FAIL_EXIT1("waitpid: %d", errno);
  return met;
}
#define xclose(fd) support_zero(close(fd))
#define xsysconf(name) sysconf(name)
#define xopen(path, flags, mode) support_descriptor(open(path, flags, mode))
#define write_message(text) ((void)!write(STDOUT_FILENO, text, strlen(text)))

__attribute__((unused)) static int support_descriptor(int fd) {
  if (fd < 0) FAIL_EXIT1("no descriptor: %d", errno);
  return fd;
}
__attribute__((unused)) static void* xmmap(void* address, size_t bytes, int protection, int flags, int fd) {
  void* mapping = mmap(address, bytes, protection, flags, fd, 0);
  if (mapping == MAP_FAILED) FAIL_EXIT1("mmap: %d", errno);
  return mapping;
}
__attribute__((unused)) static void ignore_stderr(void) {
  int fd = open("/dev/null", O_WRONLY);
  if (fd >= 0) dup2(fd, STDERR_FILENO);
}

static char support_temp_file[64];
static void support_remove_temp_file(void) {
  unlink(support_temp_file);
}
__attribute__((unused)) static int create_temp_file(const char* base, char** name) {
  snprintf(support_temp_file, sizeof(support_temp_file), "/tmp/%.20sXXXXXX", base);
  int fd = mkstemp(support_temp_file);
  if (fd < 0) FAIL_EXIT1("mkstemp: %d", errno);
  atexit(&support_remove_temp_file);
  if (name != NULL) *name = strdup(support_temp_file);
  return fd;
}

#define xpthread_barrierattr_init(attributes) support_zero(pthread_barrierattr_init(attributes))
#define xpthread_barrierattr_setpshared(attributes, shared) \
  support_zero(pthread_barrierattr_setpshared(attributes, shared))
#define xpthread_barrierattr_destroy(attributes) support_zero(pthread_barrierattr_destroy(attributes))
#define xpthread_kill(thread, number) support_zero(pthread_kill(thread, number))
#define xraise(number) support_zero(raise(number))
#define xsignal(number, handler) signal(number, handler)
#define support_shared_allocate(bytes) xmmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_SHARED, -1)
#define support_shared_free(block) ((void)(block))
