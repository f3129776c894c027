#include "sessions/private_files.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>

namespace kvasir {

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  return true;
}

bool read_all(int fd, char* into, size_t size) {
  while (size > 0) {
    const ssize_t got = ::read(fd, into, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    into += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool write_file(const std::string& path, std::initializer_list<std::string_view> parts) {
  const std::string partial = path + ".tmp";
  ::unlink(partial.c_str());
  bool done = false;
  {
    const Descriptor file{::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
    done = file.fd >= 0;
    for (const auto part : parts) done = done && write_all(file.fd, part);
  }
  done = done && ::rename(partial.c_str(), path.c_str()) == 0;
  if (!done) ::unlink(partial.c_str());
  return done;
}

}  // namespace kvasir
