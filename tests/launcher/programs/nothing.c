#include <unistd.h>

/* With an argument it stays until it is killed. */
int main(int count, char** arguments) {
  (void)arguments;
  return count > 1 ? pause() : 0;
}
