// Copied under many names, it is that many modules with a frame in a stack (memory_probe.cc).
void plugin_call(void (*call)(void)) {
  call();
  // Not a tail call: the frame stays.
  __asm__ volatile("" ::: "memory");
}
