#include "mcp/app/host_place.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include "mcp/app/paths.h"

namespace kvasir::app {
namespace {

constexpr const char* kLockName = "host.lock";
constexpr const char* kSocketName = "host.sock";
constexpr int kBacklog = 128;
constexpr mode_t kPrivate = S_IRUSR | S_IWUSR;

Failure io_failure(const std::string& what) {
  return Failure{Code::kIo, what + ": " + std::generic_category().message(errno)};
}

Result<sockaddr_un> address_of(int folder_fd, const char* name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(folder_fd) + "/" + name;
  if (path.size() >= sizeof address.sun_path) return Failure{Code::kInternal, "socket path too long"};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

/// A lock on the whole file that belongs to the open file description (fcntl(2), "open file description locks").
struct flock whole_file_lock() {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

OwnedFd new_socket(int flags) {
  return OwnedFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

}  // namespace

OwnedFd& OwnedFd::operator=(OwnedFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

int OwnedFd::release() noexcept {
  return std::exchange(fd_, -1);
}

void OwnedFd::reset() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<HostPlace> HostPlace::open(const std::string& data_dir) {
  HostPlace place;
  place.folder_ = data_dir + "/run";
  KVASIR_TRY(make_private_dir(place.folder_));
  place.folder_fd_ = OwnedFd(::open(place.folder_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!place.folder_fd_) return io_failure(place.folder_);
  struct stat facts{};
  if (::fstat(place.folder_fd_.get(), &facts) != 0) return io_failure(place.folder_);
  if (facts.st_uid != ::geteuid() || (facts.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return Failure{Code::kIo, place.folder_ + " must belong to you alone (chmod 700)"};
  return place;
}

Result<std::optional<OwnedFd>> HostPlace::connect() const {
  OwnedFd fd = new_socket(0);
  if (!fd) return io_failure("socket");
  const sockaddr_un address = KVASIR_TRY(address_of(folder_fd_.get(), kSocketName));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return std::optional(std::move(fd));
  if (errno == ENOENT || errno == ECONNREFUSED || errno == ECONNRESET || errno == EAGAIN || errno == EINTR)
    return std::optional<OwnedFd>();
  return io_failure(folder_ + "/" + kSocketName);
}

std::optional<int> HostPlace::host_pid() const {
  const OwnedFd lock(::openat(folder_fd_.get(), kLockName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!lock) return std::nullopt;
  struct flock held = whole_file_lock();
  if (::fcntl(lock.get(), F_OFD_GETLK, &held) != 0 || held.l_type == F_UNLCK) return std::nullopt;  // nobody holds it
  std::array<char, 16> text{};
  const ssize_t size = ::pread(lock.get(), text.data(), text.size(), 0);
  int pid = 0;
  if (size <= 0 || std::from_chars(text.data(), text.data() + size, pid).ec != std::errc() || pid <= 1)
    return std::nullopt;
  return pid;
}

Result<std::optional<HostPlace::Seat>> HostPlace::take_seat() const {
  Seat seat;
  seat.lock_ = OwnedFd(::openat(folder_fd_.get(), kLockName, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kPrivate));
  if (!seat.lock_) return io_failure(folder_ + "/" + kLockName);
  struct flock whole = whole_file_lock();
  if (::fcntl(seat.lock_.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno == EAGAIN || errno == EACCES) return std::optional<Seat>();
    return io_failure(folder_ + "/" + kLockName + " cannot be locked");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(seat.lock_.get(), 0) != 0 ||
      ::pwrite(seat.lock_.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
    return io_failure(folder_ + "/" + kLockName);
  // A socket of a host that was killed lies in the way; only the holder of the lock may take it away.
  if (::unlinkat(folder_fd_.get(), kSocketName, 0) != 0 && errno != ENOENT)
    return io_failure(folder_ + "/" + kSocketName);
  seat.socket_ = new_socket(SOCK_NONBLOCK);
  if (!seat.socket_) return io_failure("socket");
  const sockaddr_un address = KVASIR_TRY(address_of(folder_fd_.get(), kSocketName));
  const mode_t before = ::umask(S_IRWXG | S_IRWXO);
  const int bound = ::bind(seat.socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(before);
  if (bound != 0 || ::listen(seat.socket_.get(), kBacklog) != 0) return io_failure(folder_ + "/" + kSocketName);
  seat.socket_path_ = folder_ + "/" + kSocketName;
  return std::optional(std::move(seat));
}

HostPlace::Seat::~Seat() {
  leave_door();
}

void HostPlace::Seat::leave_door() noexcept {
  if (lock_ && !socket_path_.empty()) ::unlink(std::exchange(socket_path_, {}).c_str());
}

}  // namespace kvasir::app
