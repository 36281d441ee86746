#include "dump/perf_map.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "os/os.h"

namespace leakshim {
namespace {

constexpr size_t kLineBufferBytes = 64 << 10;

struct PerfName {
  uintptr_t start;  // 0: no line has contained the address yet
  uint64_t bytes;
  char text[kMaxPerfNameBytes];
};
static_assert(sizeof(PerfName) == 512);

struct PerfMapLine {
  uintptr_t start, end;
  Slice name;
};

bool TakeHexWithPrefix(Slice* rest, uint64_t* value) {
  if (StartsWith(*rest, "0x")) *rest = Rest(*rest, 2);
  return TakeHex(rest, value);
}

bool ParseLine(Slice text, PerfMapLine* line) {
  uint64_t start = 0, size = 0;
  if (!TakeHexWithPrefix(&text, &start) || text.bytes == 0 || text.text[0] != ' ') return false;
  TakeField(&text);
  if (!TakeHexWithPrefix(&text, &size) || text.bytes == 0 || text.text[0] != ' ') return false;
  TakeField(&text);
  if (start == 0 || size > UINTPTR_MAX - start || text.bytes == 0) return false;
  *line = {.start = start, .end = start + size, .name = text};
  return true;
}

// Does not wait for the writer of a pipe that somebody put there.
int OpenTrusted(const char* path, uint64_t* size) {
  int fd = os::Open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return fd;
  struct stat status;
  bool trusted = os::DescriptorStat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
                 (status.st_uid == os::UserId() || status.st_uid == 0);
  if (trusted) {
    *size = static_cast<uint64_t>(status.st_size);
    return fd;
  }
  os::Close(fd);
  return -1;
}

// The first of addresses[0..count) that is not below `start`.
size_t LowerBound(const uintptr_t* addresses, size_t count, uintptr_t start) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (addresses[middle] < start) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

void ReadNames(int fd, uint64_t size, char* buffer, const uintptr_t* addresses, size_t count, PerfName* names) {
  bool cut = size > kMaxPerfMapBytes && os::Seek(fd, size - kMaxPerfMapBytes) == 0;
  LineReader lines(fd, buffer, kLineBufferBytes);
  Slice text;
  if (cut) lines.Next(&text);  // begins in the middle
  // No further than the file was long at first: its writer may be as quick as we are.
  for (uint64_t done = 0; done < size && done < kMaxPerfMapBytes && lines.Next(&text); done += text.bytes + 1) {
    PerfMapLine line;
    if (!ParseLine(text, &line) || line.end <= addresses[0] || line.start > addresses[count - 1]) continue;
    for (size_t i = LowerBound(addresses, count, line.start); i < count && addresses[i] < line.end; i++) {
      names[i].start = line.start;
      names[i].bytes = line.name.bytes < kMaxPerfNameBytes ? line.name.bytes : kMaxPerfNameBytes;
      memcpy(names[i].text, line.name.text, names[i].bytes);
    }
  }
}

}  // namespace

void FindPerfMapNames(const char* path, const uintptr_t* addresses, size_t count, PerfNameSink sink, void* context) {
  uint64_t size = 0;
  int fd = count == 0 ? -1 : OpenTrusted(path, &size);
  if (fd < 0) return;
  size_t bytes = count * sizeof(PerfName) + kLineBufferBytes;
  auto* names = static_cast<PerfName*>(os::MapForDump(bytes));
  if (names == nullptr) {
    os::Close(fd);
    return;
  }
  ReadNames(fd, size, reinterpret_cast<char*>(names + count), addresses, count, names);
  for (size_t i = 0; i < count; i++) {
    if (names[i].start != 0) sink(context, i, {names[i].text, names[i].bytes}, names[i].start);
  }
  os::UnmapForDump(names, bytes);
}

}  // namespace leakshim
