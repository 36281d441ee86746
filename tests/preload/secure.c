/* Linked with the library, so that it is there in a set-user-ID run too, in which LD_PRELOAD is ignored. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

int main(void) {
  void* volatile kept = malloc(1000);
  printf("secure %lu\n", getauxval(AT_SECURE));
  return kept == NULL;
}
