// Whole reads and writes of small private files (0600, links not followed), for what keeps pages of KV. Any thread.
#pragma once

#include <unistd.h>

#include <initializer_list>
#include <string>
#include <string_view>

namespace kvasir {

/// Closes what it holds.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

/// False: not everything was written or read.
bool write_all(int fd, std::string_view bytes);
bool read_all(int fd, char* into, size_t size);
/// A private file that holds exactly these bytes. False leaves nothing behind.
bool write_file(const std::string& path, std::initializer_list<std::string_view> parts);

}  // namespace kvasir
