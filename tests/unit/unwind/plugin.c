/* Two libraries are built of this source, alike but for their number, a frame of another size in code of the same, and
 * the build id. */
int plugin_number(void) {
  return PLUGIN_NUMBER;
}
void plugin_call(void (*callback)(void*), void* data) {
  char frame[512 * PLUGIN_NUMBER];
  __asm__ volatile("" ::"r"(frame) : "memory");
  callback(data);
  __asm__ volatile("" ::"r"(frame) : "memory");
}
