#include "core/model/file_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kvasir {
namespace {

int64_t nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  if (S_ISSOCK(mode)) return "a socket";
  return "a special file";
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out(text.substr(0, 80));
  std::replace_if(out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  if (text.size() > out.size()) out += "...";
  return out;
}

Result<std::unique_ptr<FileSource>> FileSource::open(const std::string& path) {
  if (path.find('\0') != std::string::npos) return Failure(Code::kInvalidArgument, "model path contains a NUL byte");
  // O_NONBLOCK: opening a pipe without a writer would wait for ever.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    const int error = errno;
    const Code code = error == ENOENT || error == ENOTDIR ? Code::kNotFound : Code::kIo;
    return Failure(code, "cannot open " + path + ": " + std::strerror(error));
  }
  struct stat s{};
  if (::fstat(fd, &s) != 0 || !S_ISREG(s.st_mode)) {
    ::close(fd);
    return Failure(Code::kIo, path + " is " + kind_of(s.st_mode) + ", not a model file");
  }
  const Facts facts{s.st_dev, s.st_ino, static_cast<uint64_t>(s.st_size), nanoseconds(s.st_mtim), nanoseconds(s.st_ctim)};
  return std::unique_ptr<FileSource>(new FileSource(fd, path, facts));
}

FileSource::~FileSource() {
  ::close(fd_);
}

Result<void> FileSource::read(uint64_t offset, std::span<std::byte> into) const {
  if (offset > facts_.size || into.size() > facts_.size - offset) {
    return Failure(Code::kCorrupt, path_ + ": read past the end of the file");
  }
  while (!into.empty()) {
    const size_t want = std::min<size_t>(into.size(), size_t{1} << 30);
    const ssize_t got = ::pread(fd_, into.data(), want, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return Failure(Code::kIo, "cannot read " + path_ + ": " + std::strerror(errno));
    }
    if (got == 0) return Failure(Code::kCorrupt, path_ + " became shorter while it was read");
    into = into.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

std::string FileSource::identity() const {
  std::string out;
  for (const uint64_t number : {facts_.device, facts_.inode, facts_.size, static_cast<uint64_t>(facts_.modified_ns),
                                static_cast<uint64_t>(facts_.changed_ns)}) {
    out += (out.empty() ? "" : ":") + std::to_string(number);
  }
  return out;
}

Result<void> FileSource::check_unchanged() const {
  struct stat s{};
  if (::fstat(fd_, &s) != 0) return Failure(Code::kIo, "cannot stat " + path_ + ": " + std::strerror(errno));
  if (static_cast<uint64_t>(s.st_size) != facts_.size || nanoseconds(s.st_mtim) != facts_.modified_ns) {
    return Failure(Code::kCorrupt, path_ + " was changed while it was read");
  }
  return {};
}

}  // namespace kvasir
