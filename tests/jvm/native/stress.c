// The native half of the stress program: blocks whose size tells the Java frames above them (see Truth.java), and ways
// from C into Java.

#include <jni.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// How often a block of each size was asked for; the driver holds the dump against it.
enum { kSizes = 1 << 18 };
static _Atomic jlong counts[kSizes];

// The last blocks stay alive, so that dumps see live ones and freed ones.
enum { kAlive = 1024 };
static _Atomic(void*) alive[kAlive];
static _Atomic unsigned next_alive;

// Not inlined, and exported: a driver finds the stacks that tell by its name. Nothing is done for a size of 0: the
// program has run out of sizes.
__attribute__((noinline)) void stress_block(size_t size_bytes) {
  if (size_bytes == 0 || size_bytes >= kSizes) return;
  void* block = malloc(size_bytes);
  if (block == NULL) return;
  atomic_fetch_add(&counts[size_bytes], 1);
  free(atomic_exchange(&alive[atomic_fetch_add(&next_alive, 1) % kAlive], block));
}

JNIEXPORT void JNICALL Java_stress_Native_allocate(JNIEnv* env, jclass type, jint size_bytes) {
  (void)env, (void)type;
  stress_block((size_t)size_bytes);
}

JNIEXPORT void JNICALL Java_stress_Native_with_1underscore__I(JNIEnv* env, jclass type, jint size_bytes) {
  (void)env, (void)type;
  stress_block((size_t)size_bytes);
}

JNIEXPORT void JNICALL Java_stress_Native_with_1underscore__ILjava_lang_Object_2(JNIEnv* env, jclass type,
                                                                                 jint size_bytes, jobject other) {
  (void)env, (void)type, (void)other;
  stress_block((size_t)size_bytes);
}

JNIEXPORT void JNICALL Java_stress_Native_untold(JNIEnv* env, jclass type, jint size_bytes) {
  (void)env, (void)type;
  char* volatile block = malloc((size_t)size_bytes);
  free(block);
}

JNIEXPORT jlong JNICALL Java_stress_Native_count(JNIEnv* env, jclass type, jint size_bytes) {
  (void)env, (void)type;
  return size_bytes > 0 && size_bytes < kSizes ? atomic_load(&counts[size_bytes]) : 0;
}

static void call_accept(JNIEnv* env, jobject consumer, jint value) {
  jclass type = (*env)->GetObjectClass(env, consumer);
  jmethodID accept = (*env)->GetMethodID(env, type, "accept", "(I)V");
  if (accept != NULL) (*env)->CallVoidMethod(env, consumer, accept, value);
  if (!(*env)->ExceptionCheck(env)) (*env)->DeleteLocalRef(env, type);
}

JNIEXPORT void JNICALL Java_stress_Native_call(JNIEnv* env, jclass type, jobject consumer, jint value) {
  (void)type;
  call_accept(env, consumer, value);
}

struct thread_call {
  JavaVM* vm;
  jobject consumer;
  jint value;
};

static void* run_attached(void* data) {
  struct thread_call* call = data;
  JNIEnv* env = NULL;
  if ((*call->vm)->AttachCurrentThread(call->vm, (void**)&env, NULL) != JNI_OK) return NULL;
  call_accept(env, call->consumer, call->value);
  if ((*env)->ExceptionCheck(env)) (*env)->ExceptionDescribe(env);
  (*call->vm)->DetachCurrentThread(call->vm);
  return NULL;
}

JNIEXPORT void JNICALL Java_stress_Native_callOnThread(JNIEnv* env, jclass type, jobject consumer, jint value) {
  (void)type;
  struct thread_call call = {NULL, (*env)->NewGlobalRef(env, consumer), value};
  (*env)->GetJavaVM(env, &call.vm);
  pthread_t thread;
  if (pthread_create(&thread, NULL, run_attached, &call) == 0) pthread_join(thread, NULL);
  (*env)->DeleteGlobalRef(env, call.consumer);
}

JNIEXPORT void JNICALL Java_stress_Native_critical(JNIEnv* env, jclass type, jbyteArray array, jint size_bytes) {
  (void)type;
  jbyte* bytes = (*env)->GetPrimitiveArrayCritical(env, array, NULL);
  if (bytes == NULL) return;
  stress_block((size_t)size_bytes);
  bytes[0]++;
  (*env)->ReleasePrimitiveArrayCritical(env, array, bytes, 0);
}

JNIEXPORT jint JNICALL Java_stress_Native_characters(JNIEnv* env, jclass type, jstring text) {
  (void)type;
  const char* bytes = (*env)->GetStringUTFChars(env, text, NULL);
  if (bytes == NULL) return 0;
  jint length = (jint)strlen(bytes);
  (*env)->ReleaseStringUTFChars(env, text, bytes);
  return length;
}
