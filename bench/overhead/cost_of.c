/* cost_of OUT [NAME=VALUE...] COMMAND [ARGUMENT...]: runs the command and writes to the file OUT what it cost:
 *
 *     <user and system time, us> <peak resident memory of the largest process, KiB>
 *
 * Exits as the command did. A program of its own because the kernel counts the memory of whoever calls exec into the
 * peak of what is executed: from a script interpreter, no small program could be measured.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char** arguments) {
  int at = 2;
  while (at < count && strchr(arguments[at], '=') != NULL) at++;
  if (at >= count) return 2;
  pid_t child = fork();
  if (child == 0) {
    for (int i = 2; i < at; i++) putenv(arguments[i]);
    execv(arguments[at], arguments + at);
    _exit(127);
  }
  int status = 0;
  struct rusage usage;
  if (child < 0 || wait4(child, &status, 0, &usage) != child) return 2;
  FILE* out = fopen(arguments[1], "w");
  if (out == NULL) return 2;
  long long us =
      (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
  fprintf(out, "%lld %ld\n", us, usage.ru_maxrss);
  fclose(out);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
