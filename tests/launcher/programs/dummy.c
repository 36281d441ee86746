// Stands in for libleakshim.so: shows that it was loaded, where asked.

#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void tell(void) {
  if (getenv("DUMMY_TELLS") != NULL) puts("dummy loaded");
}
