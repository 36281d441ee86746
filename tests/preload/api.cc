// Uses the C API of leakshim.h without being linked with it:
//     api <file for a dump>
// Prints `absent` where the library is not preloaded, and `fine` where it did what the header says.

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "check.h"
#include "leakshim.h"

namespace {

constexpr size_t kBytes = 1000;
void* blocks[900];

void Allocate(int from, int to) {
  for (int i = from; i < to; i++) blocks[i] = malloc(kBytes);
}

leakshim_counters Counters() {
  leakshim_counters counters{};
  CHECK(leakshim_read_counters(&counters, sizeof(counters)) == 0);
  return counters;
}

// What may be called from a handler, from one.
volatile sig_atomic_t handled;
void Handler(int) {
  leakshim_counters counters;
  int was = leakshim_set_active(1);
  if (leakshim_read_counters(&counters, sizeof(counters)) == 0 && leakshim_name_thread("named by a handler") == 0 &&
      was == 1) {
    handled = handled + 1;
  }
}

}  // namespace

int main(int, char** argv) {
  if (!leakshim_version) {
    CHECK(!leakshim_dump && !leakshim_dump_to && !leakshim_set_active && !leakshim_name_thread &&
          !leakshim_read_counters);
    puts("absent");
    return 0;
  }
  CHECK(strlen(leakshim_version()) >= 5);
  if (leakshim_set_active(1) == -ENODEV) {
    CHECK(leakshim_dump(nullptr, 0) == -ENODEV && leakshim_dump_to(argv[1]) == -ENODEV);
    CHECK(leakshim_name_thread("nobody") == -ENODEV && Counters().active == 0);
    puts("off");
    return 0;
  }
  // Asleep at first or not: awake now. A thread that slept looks again after a MiB at most.
  free(malloc(3 << 20));
  Allocate(0, 1);
  uint64_t before = Counters().samples;
  CHECK(Counters().active == 1 && Counters().interval_bytes == 1);
  Allocate(0, 300);
  CHECK(Counters().samples == before + 300);
  // Asleep: nothing is sampled, but frees are seen.
  CHECK(leakshim_set_active(0) == 1 && leakshim_set_active(0) == 0 && Counters().active == 0);
  CHECK(leakshim_dump_to(argv[1]) == -ENODEV);
  Allocate(300, 600);
  for (int i = 0; i < 100; i++) free(blocks[i]);
  CHECK(Counters().samples == before + 300);
  CHECK(leakshim_set_active(1) == 0);
  free(malloc(3 << 20));
  Allocate(600, 601);
  before = Counters().samples;

  char kernels[16] = "";
  CHECK(prctl(PR_SET_NAME, "kernels name") == 0);
  std::thread thread([&] {
    CHECK(leakshim_name_thread("a name of more than the kernel's fifteen characters, cut somewhere") == 0);
    Allocate(601, 751);
  });
  thread.join();
  CHECK(signal(SIGUSR1, &Handler) != SIG_ERR);
  for (int i = 0; i < 100; i++) raise(SIGUSR1);
  CHECK(handled == 100);
  CHECK(prctl(PR_GET_NAME, kernels) == 0 && strcmp(kernels, "kernels name") == 0);

  // The struct of an older caller and of a newer one.
  struct {
    leakshim_counters known;
    uint64_t later[4];
  } newer;
  memset(&newer, 0xff, sizeof(newer));
  CHECK(leakshim_read_counters(&newer.known, sizeof(newer)) == 0 && newer.later[3] == 0 &&
        newer.known.samples > before);
  uint64_t older[2] = {0, 4711};
  CHECK(leakshim_read_counters(reinterpret_cast<leakshim_counters*>(older), sizeof(uint64_t)) == 0);
  CHECK(older[0] == Counters().samples && older[1] == 4711);

  CHECK(leakshim_dump_to(argv[1]) == 0);
  CHECK(leakshim_dump_to(argv[1]) == -EEXIST);
  CHECK(leakshim_dump_to("/no/such/folder/file") == -ENOENT && leakshim_dump_to("") == -EINVAL);
  CHECK(leakshim_dump_to(nullptr) == -EINVAL);
  puts("fine");
  return 0;
}
