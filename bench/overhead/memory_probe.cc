// What the library's books take of memory: `memory_probe samples|stacks|threads|modules COUNT`, under the library
// with lg_prof_sample:0, makes so many live samples under one stack, stacks of some 20 frames, threads with one sample
// each, or modules with a frame each (copies of the plugin, in the working directory), and prints
//
//     mapped <bytes by the library's own count> samples <n> stacks <n>
//
// memory.py beside this file runs it.

#include <dlfcn.h>
#include <pthread.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "leakshim.h"

namespace {

volatile uintptr_t kept = 0;

void Keep() {
  kept = kept + reinterpret_cast<uintptr_t>(malloc(32));
}

template <int bit>
__attribute__((noinline)) void Descend(unsigned number, int more) {
  if (more == 0) {
    Keep();
  } else if ((number >> more & 1) != 0) {
    Descend<0>(number, more - 1);
  } else {
    Descend<1>(number, more - 1);
  }
  kept = kept + bit;
}

void Print() {
  leakshim_counters counters;
  leakshim_read_counters(&counters, sizeof(counters));
  printf("mapped %llu samples %llu stacks %llu\n", static_cast<unsigned long long>(counters.own_memory_bytes),
         static_cast<unsigned long long>(counters.samples), static_cast<unsigned long long>(counters.stacks));
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 3 || !leakshim_read_counters) return 2;
  auto count = static_cast<unsigned>(atoi(arguments[2]));
  if (strcmp(arguments[1], "samples") == 0) {
    for (unsigned i = 0; i < count; i++) Keep();
    Print();
  } else if (strcmp(arguments[1], "stacks") == 0) {
    for (unsigned i = 0; i < count; i++) Descend<0>(i * 2, 16);
    Print();
  } else if (strcmp(arguments[1], "modules") == 0) {
    for (unsigned i = 0; i < count; i++) {
      const std::string copy = "./plugin" + std::to_string(i) + ".so";
      std::filesystem::copy_file(MEMORY_PLUGIN, copy);
      void* plugin = dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (plugin == nullptr) return 1;
      reinterpret_cast<void (*)(void (*)())>(dlsym(plugin, "plugin_call"))(&Keep);
    }
    Print();
  } else {
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, nullptr, count + 1);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; i++) {
      threads.emplace_back([&] {
        Keep();
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
      });
    }
    pthread_barrier_wait(&barrier);
    Print();
    pthread_barrier_wait(&barrier);
    for (std::thread& thread : threads) thread.join();
  }
}
