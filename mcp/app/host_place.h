// Where the host of a user and data folder is found: <data>/run/host.lock, which the host holds for life and writes its
// pid into, and <data>/run/host.sock. The lock decides who is host; the kernel drops it with the process, so a killed
// host leaves nothing that must be cleaned up. The folder and both files belong to the user alone. Linux.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/result.h"

namespace kvasir::app {

/// An open descriptor.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.release()) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept;
  ~OwnedFd() { reset(); }
  int get() const noexcept { return fd_; }
  int release() noexcept;
  void reset() noexcept;
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class HostPlace {
 public:
  /// Makes the folder. Errors: kIo.
  static Result<HostPlace> open(const std::string& data_dir);

  /// The connected socket, or nothing if no host listens. Errors: kIo.
  Result<std::optional<OwnedFd>> connect() const;
  /// The pid of the host, if there is one.
  std::optional<int> host_pid() const;
  /// What a host that could not start said.
  std::string error_file() const { return folder_ + "/host.err"; }
  const std::string& folder() const noexcept { return folder_; }

  /// Being the host: holds the lock and the listening socket. The file of the socket goes with it.
  class Seat {
   public:
    Seat(Seat&&) = default;
    Seat& operator=(Seat&&) = default;
    ~Seat();
    /// The listening socket, non-blocking; once.
    int take_socket() noexcept { return socket_.release(); }
    /// Takes the socket's file away, so that new front ends wait for the next host.
    void leave_door() noexcept;

   private:
    friend class HostPlace;
    Seat() = default;
    OwnedFd lock_, socket_;
    std::string socket_path_;
  };
  /// Becomes the host, or nothing if another process is. Errors: kIo.
  Result<std::optional<Seat>> take_seat() const;

 private:
  HostPlace() = default;
  std::string folder_;
  OwnedFd folder_fd_;  // sockets are reached as /proc/self/fd/N/host.sock: the path of a socket has 107 bytes at most
};

}  // namespace kvasir::app
