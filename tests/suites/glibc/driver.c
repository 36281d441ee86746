/* The main of a test of the newer kind: do_test is a function. */
#ifndef TIMEOUT
#define TIMEOUT 20
#endif
#ifndef TEST_FUNCTION
#define TEST_FUNCTION do_test
#endif
int main(void) {
  alarm(TIMEOUT * 3);
  setvbuf(stdout, NULL, _IONBF, 0);
  int result = TEST_FUNCTION();
  return result != 0 ? result : support_failed;
}
