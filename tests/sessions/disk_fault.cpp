// A disk that fails under the real program: loaded before it (LD_PRELOAD), this makes every fsync of the store's files
// fail with EIO once the file that KVASIR_TEST_DISK_FAULT names exists. For tests/e2e/test_disk_faults.py only.
#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool fails(int fd) {
  const char* switch_file = std::getenv("KVASIR_TEST_DISK_FAULT");
  if (switch_file == nullptr || ::access(switch_file, F_OK) != 0) return false;
  char link[64], name[PATH_MAX];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = ::readlink(link, name, sizeof name - 1);
  if (size <= 0) return false;
  name[size] = '\0';
  return std::strstr(name, "/sessions/meta.db") != nullptr;
}

int sync_or_fail(const char* call, int fd) {
  if (fails(fd)) {
    errno = EIO;
    return -1;
  }
  using Sync = int (*)(int);
  return reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, call))(fd);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int fsync(int fd) { return sync_or_fail("fsync", fd); }
extern "C" __attribute__((visibility("default"))) int fdatasync(int fd) { return sync_or_fail("fdatasync", fd); }
