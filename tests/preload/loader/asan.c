/* A program with the address sanitizer in it, whose malloc must stay the sanitizer's. */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
  for (int i = 0; i < 1000; i++) {
    char* volatile block = malloc(100);
    free(block);
  }
  puts("fine");
}
