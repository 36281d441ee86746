// The native half of the demo: one function that leaks, one that does not, and two that tell what zlib asks for.

#include <jni.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

// Not inlined: its own row in a report.
__attribute__((noinline)) static char* new_entry(size_t size_bytes) {
  char* entry = malloc(size_bytes);
  if (entry != NULL) memset(entry, 0x5a, size_bytes);
  return entry;
}

JNIEXPORT jboolean JNICALL Java_demo_NativeIndex_remember(JNIEnv* env, jclass type, jint size_bytes) {
  (void)env, (void)type;
  // volatile: the pointer is forgotten on purpose, and the compiler must not forget the malloc with it.
  char* volatile entry = new_entry((size_t)size_bytes);
  return entry != NULL ? JNI_TRUE : JNI_FALSE;
}

JNIEXPORT jlong JNICALL Java_demo_NativeIndex_borrow(JNIEnv* env, jclass type, jint blocks, jint size_bytes) {
  (void)env, (void)type;
  jlong sum = 0;
  for (jint i = 0; i < blocks; i++) {
    char* volatile block = new_entry((size_t)size_bytes);
    if (block != NULL) sum += block[i % size_bytes];
    free(block);
  }
  return sum;
}

struct zlib_use {
  size_t size_bytes;
  size_t blocks;
};

static voidpf counting_alloc(voidpf opaque, uInt items, uInt size) {
  struct zlib_use* use = opaque;
  use->size_bytes += (size_t)items * size;
  use->blocks++;
  return calloc(items, size);
}

static void plain_free(voidpf opaque, voidpf address) {
  (void)opaque;
  free(address);
}

// Opens a stream as java.util.zip.Deflater does, with its memory level of 8, and adds the z_stream, which the JDK keeps
// in a block of its own.
static struct zlib_use measure_deflater(void) {
  struct zlib_use use = {sizeof(z_stream), 1};
  z_stream stream;
  memset(&stream, 0, sizeof stream);
  stream.zalloc = counting_alloc;
  stream.zfree = plain_free;
  stream.opaque = &use;
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK) {
    deflateEnd(&stream);
  }
  return use;
}

JNIEXPORT jlong JNICALL Java_demo_NativeIndex_bytesPerDeflater(JNIEnv* env, jclass type) {
  (void)env, (void)type;
  return (jlong)measure_deflater().size_bytes;
}

JNIEXPORT jlong JNICALL Java_demo_NativeIndex_blocksPerDeflater(JNIEnv* env, jclass type) {
  (void)env, (void)type;
  return (jlong)measure_deflater().blocks;
}
