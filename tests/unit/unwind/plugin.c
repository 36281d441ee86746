/* Two libraries are built of this source, alike but for their number and build id. */
int plugin_number(void) {
  return PLUGIN_NUMBER;
}
void plugin_call(void (*callback)(void*), void* data) {
  callback(data);
  __asm__ volatile("" ::: "memory");
}
