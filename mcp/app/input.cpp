#include "mcp/app/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kvasir::app {
namespace {

Result<std::string> read_all(int fd, const std::string& what, size_t max_bytes) {
  std::string out;
  char block[1 << 16];
  while (true) {
    const ssize_t n = ::read(fd, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failure{Code::kIo, "cannot read " + what + ": " + std::strerror(errno)};
    if (n == 0) return out;
    out.append(block, static_cast<size_t>(n));
    if (out.size() > max_bytes)
      return Failure{Code::kTooLarge, what + " is over " + std::to_string(max_bytes >> 20) + " MiB"};
  }
}

/// stdin is a pipe or a file: not a terminal, /dev/null, or a socket that a service manager left open.
bool stdin_is_input() {
  struct stat info{};
  return fstat(STDIN_FILENO, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode));
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

}  // namespace

bool stdin_is_terminal() {
  return isatty(STDIN_FILENO) == 1;
}

Result<std::string> read_stdin() {
  return read_all(STDIN_FILENO, "standard input", kMaxInputBytes);
}

Result<std::string> text_input(const Context& context) {
  std::string text = joined(context.arguments);
  if (!text.empty()) {
    if (!stdin_is_input()) return text;
    const std::string more = KVASIR_TRY(read_stdin());
    return more.empty() ? text : text + "\n\n" + more;
  }
  if (stdin_is_terminal()) return Failure{Code::kInvalidArgument, "no text: give it as an argument or through a pipe"};
  return read_stdin();
}

Result<std::string> read_text_file(const std::string& path, size_t max_bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return Failure{errno == ENOENT ? Code::kNotFound : Code::kIo, "cannot open " + path + ": " + std::strerror(errno)};
  auto text = read_all(fd, path, max_bytes);
  ::close(fd);
  return text;
}

}  // namespace kvasir::app
