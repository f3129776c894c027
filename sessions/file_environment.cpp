#include "sessions/file_environment.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace kvasir {
namespace {

Failure failure(const char* doing, const std::string& path, int error = errno) {
  const std::string message = std::string("cannot ") + doing + ' ' + path + ": " + std::strerror(error);
  switch (error) {
    case ENOENT:
    case ELOOP:  // a link is no file of ours
      return {Code::kNotFound, message};
    case ENOSPC:
    case EDQUOT:
      return {Code::kTooLarge, message};
    default:
      return {Code::kIo, message};
  }
}

class SystemFile final : public OpenFile {
 public:
  SystemFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~SystemFile() override { ::close(fd_); }

  Result<size_t> read(std::span<std::byte> into) override {
    size_t done = 0;
    while (done < into.size()) {
      const ssize_t got = ::read(fd_, into.data() + done, into.size() - done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return failure("read", path_);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }
  Result<void> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t wrote = ::write(fd_, bytes.data(), bytes.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) return failure("write", path_);
      bytes.remove_prefix(static_cast<size_t>(wrote));
    }
    return {};
  }
  Result<uint64_t> size() override {
    struct stat facts{};
    if (::fstat(fd_, &facts) != 0) return failure("look at", path_);
    if (!S_ISREG(facts.st_mode)) return Failure{Code::kIo, path_ + " is not a file"};
    return static_cast<uint64_t>(facts.st_size);
  }
  Result<void> sync() override {
    if (::fsync(fd_) != 0) return failure("sync", path_);
    return {};
  }
  void touch() override { ::futimens(fd_, nullptr); }

 private:
  const int fd_;
  const std::string path_;
};

class SystemFiles final : public FileEnvironment {
 public:
  Result<std::unique_ptr<OpenFile>> open(const std::string& path) override { return opened(path, O_RDONLY | O_NONBLOCK); }
  Result<std::unique_ptr<OpenFile>> create(const std::string& path) override {
    ::unlink(path.c_str());
    return opened(path, O_WRONLY | O_CREAT | O_EXCL);
  }
  Result<std::unique_ptr<OpenFile>> append(const std::string& path) override {
    return opened(path, O_WRONLY | O_CREAT | O_APPEND);
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return failure("rename", from);
    return {};
  }
  Result<void> remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0) return failure("remove", path);
    return {};
  }
  Result<std::vector<FolderEntry>> list(const std::string& folder) override {
    std::vector<FolderEntry> out;
    std::error_code ec;
    std::filesystem::directory_iterator at(folder, ec);
    for (; !ec && at != std::filesystem::directory_iterator(); at.increment(ec)) {
      FolderEntry entry;
      entry.name = at->path().filename();
      struct stat facts{};
      if (::lstat(at->path().c_str(), &facts) == 0) {
        entry.regular = S_ISREG(facts.st_mode);
        entry.size = static_cast<uint64_t>(facts.st_size);
        entry.used_ns = int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec;
      }
      out.push_back(std::move(entry));
    }
    if (ec) return failure("list", folder, ec.value());
    return out;
  }
  Result<void> make_folder(const std::string& path) override {
    std::error_code ec;
    std::filesystem::create_directories(path, ec);
    if (ec) return failure("make the folder", path, ec.value());
    ::chmod(path.c_str(), S_IRWXU);
    return {};
  }
  Result<void> sync_folder(const std::string& path) override {
    auto folder = KVASIR_TRY(opened(path, O_RDONLY | O_DIRECTORY));
    return folder->sync();
  }

 private:
  static Result<std::unique_ptr<OpenFile>> opened(const std::string& path, int flags) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0) return failure("open", path);
    return std::unique_ptr<OpenFile>(std::make_unique<SystemFile>(fd, path));
  }
};

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

}  // namespace

std::shared_ptr<FileEnvironment> system_files() {
  return std::make_shared<SystemFiles>();
}

Result<void> write_file(FileEnvironment& files, const std::string& path, std::initializer_list<std::string_view> parts,
                        Durability durability) {
  const std::string partial = path + ".tmp";
  const auto write = [&]() -> Result<void> {
    const auto file = KVASIR_TRY(files.create(partial));
    for (const auto part : parts) KVASIR_TRY(file->write(part));
    if (durability == Durability::kSynced) KVASIR_TRY(file->sync());
    return {};
  };
  auto done = write();
  if (done) done = files.rename(partial, path);
  if (!done) {
    (void)files.remove(partial).has_value();
    return done;
  }
  return durability == Durability::kSynced ? files.sync_folder(folder_of(path)) : Result<void>();
}

Result<std::string> read_file(FileEnvironment& files, const std::string& path, uint64_t max_bytes) {
  const auto file = KVASIR_TRY(files.open(path));
  const uint64_t size = KVASIR_TRY(file->size());
  if (size > max_bytes) return Failure{Code::kTooLarge, path + " is larger than " + std::to_string(max_bytes) + " bytes"};
  std::string out(size, '\0');
  out.resize(KVASIR_TRY(file->read(std::as_writable_bytes(std::span(out)))));
  return out;
}

}  // namespace kvasir
