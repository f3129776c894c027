#include "mcp/app/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>

#include "mcp/app/exit_codes.h"

namespace kvasir::app {

Interrupt::Interrupt() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC);
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { watch(); });
}

Interrupt::~Interrupt() {
  const uint64_t one = 1;
  (void)!::write(stop_fd_, &one, sizeof one);
  thread_.join();
  ::close(signal_fd_);
  ::close(stop_fd_);
}

void Interrupt::on_signal(std::function<void()> fn) {
  const std::lock_guard lock(mutex_);
  fn_ = std::move(fn);
  if (fn_ && signal_.load() != 0) fn_();
}

void Interrupt::watch() {
  pollfd fds[2] = {{signal_fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
  while (true) {
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    signalfd_siginfo info{};
    if (fds[0].revents == 0 || ::read(signal_fd_, &info, sizeof info) != sizeof info) continue;
    int none = 0;
    if (!signal_.compare_exchange_strong(none, static_cast<int>(info.ssi_signo))) _exit(kInterrupted);
    const std::lock_guard lock(mutex_);
    if (fn_) fn_();
  }
}

void quit_after_ms(unsigned ms, int code) {
  std::thread([ms, code] {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    _exit(code);
  }).detach();
}

}  // namespace kvasir::app
