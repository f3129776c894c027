#include "mcp/app/console.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

namespace kvasir::app {
namespace {

constexpr int kBarCells = 24;

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

}  // namespace

int take_stdout() noexcept {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
      const int null = ::open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
      if (null != -1 && null != fd) {
        dup2(null, fd);
        ::close(null);
      }
    }
  }
  const int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  return out;
}

Console::Console(int out_fd)
    : out_fd_(out_fd), out_terminal_(isatty(out_fd) == 1), err_terminal_(isatty(STDERR_FILENO) == 1) {
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  colour_ = set("CLICOLOR_FORCE") || (err_terminal_ && !dumb && !set("NO_COLOR"));
}

void Console::out(std::string_view text) {
  if (!broken_ && !write_all(out_fd_, text)) broken_ = true;
}

void Console::note(std::string_view text) {
  end_progress();
  // Nobody can be told when stderr itself is gone.
  (void)write_all(STDERR_FILENO, std::string(text) + "\n");
}

void Console::progress(std::string_view label, double share) {
  if (silent_) return;
  const int percent = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * 100));
  if (label != label_) {
    end_progress();
    label_ = label;
  }
  if (!err_terminal_) {
    if (percent / 10 <= last_step_) return;
    last_step_ = percent / 10;
    if (percent >= 10) (void)write_all(STDERR_FILENO, label_ + " " + std::to_string(percent / 10 * 10) + " %\n");
    return;
  }
  if (percent == last_step_) return;
  last_step_ = percent;
  const int filled = percent * kBarCells / 100;
  std::string bar = "\r" + label_ + " [";
  for (int i = 0; i < kBarCells; ++i) bar += i < filled ? '#' : ' ';
  (void)write_all(STDERR_FILENO, bar + "] " + std::to_string(percent) + " %");
}

void Console::end_progress() {
  if (label_.empty()) return;
  if (err_terminal_) (void)write_all(STDERR_FILENO, "\r" + std::string(label_.size() + kBarCells + 12, ' ') + "\r");
  label_.clear();
  last_step_ = -1;
}

}  // namespace kvasir::app
