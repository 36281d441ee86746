/* An auditor that looks on: the loader gives it, and the libc that it brings, a namespace of their own. */
#include <stdlib.h>

unsigned la_version(unsigned version) {
  free(malloc(1000));
  return version;
}
