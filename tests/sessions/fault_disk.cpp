#include "tests/sessions/fault_disk.h"

#include <sqlite3.h>

#include <cstring>
#include <fstream>
#include <set>
#include <stdexcept>

namespace kvasir::test {
namespace {

FaultDisk* g_disk = nullptr;  // C callbacks carry no state of ours; the class allows one at a time
sqlite3_vfs g_vfs;
sqlite3_io_methods g_methods;

/// A file of ours, followed in memory by the system's.
struct File {
  sqlite3_file base;
  char* name;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
File& of(sqlite3_file* file) {
  return *reinterpret_cast<File*>(file);
}
sqlite3_file* real(sqlite3_file* file) {
  return of(file).real();
}
sqlite3_vfs* system_vfs() {
  return static_cast<sqlite3_vfs*>(g_vfs.pAppData);
}

int perform(FaultDisk::Op op, int (*act)(sqlite3_file*, const FaultDisk::Op&), sqlite3_file* file) {
  if (const int refused = g_disk->before(op)) return refused;
  const int code = act(real(file), op);
  if (code == SQLITE_OK) g_disk->done(std::move(op));
  return code;
}

int close_file(sqlite3_file* file) {
  const int code = real(file)->pMethods->xClose(real(file));
  std::free(of(file).name);
  return code;
}
int write_file(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  return perform(
      {FaultDisk::Op::Kind::kWrite, of(file).name, static_cast<uint64_t>(offset),
       std::string(static_cast<const char*>(data), static_cast<size_t>(size))},
      [](sqlite3_file* to, const FaultDisk::Op& op) {
        return to->pMethods->xWrite(to, op.data.data(), static_cast<int>(op.data.size()),
                                    static_cast<sqlite3_int64>(op.offset));
      },
      file);
}
int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
  return perform(
      {FaultDisk::Op::Kind::kTruncate, of(file).name, static_cast<uint64_t>(size), ""},
      [](sqlite3_file* to, const FaultDisk::Op& op) {
        return to->pMethods->xTruncate(to, static_cast<sqlite3_int64>(op.offset));
      },
      file);
}
int sync_file(sqlite3_file* file, int) {
  // The real fsync would only cost time: what counts is what was recorded before it.
  return perform(
      {FaultDisk::Op::Kind::kSync, of(file).name, 0, ""}, [](sqlite3_file*, const FaultDisk::Op&) { return SQLITE_OK; },
      file);
}

void set_up_methods(const sqlite3_io_methods& real_methods) {
  g_methods = {};
  g_methods.iVersion = 2;
  g_methods.xClose = close_file;
  g_methods.xRead = [](sqlite3_file* f, void* p, int n, sqlite3_int64 o) {
    return real(f)->pMethods->xRead(real(f), p, n, o);
  };
  g_methods.xWrite = write_file;
  g_methods.xTruncate = truncate_file;
  g_methods.xSync = sync_file;
  g_methods.xFileSize = [](sqlite3_file* f, sqlite3_int64* n) { return real(f)->pMethods->xFileSize(real(f), n); };
  g_methods.xLock = [](sqlite3_file* f, int n) { return real(f)->pMethods->xLock(real(f), n); };
  g_methods.xUnlock = [](sqlite3_file* f, int n) { return real(f)->pMethods->xUnlock(real(f), n); };
  g_methods.xCheckReservedLock = [](sqlite3_file* f, int* n) {
    return real(f)->pMethods->xCheckReservedLock(real(f), n);
  };
  g_methods.xFileControl = [](sqlite3_file* f, int op, void* p) {
    return real(f)->pMethods->xFileControl(real(f), op, p);
  };
  g_methods.xSectorSize = [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); };
  g_methods.xDeviceCharacteristics = [](sqlite3_file*) { return 0; };  // promise nothing
  if (real_methods.iVersion < 2) return;
  g_methods.xShmMap = [](sqlite3_file* f, int page, int size, int extend, void volatile** p) {
    return real(f)->pMethods->xShmMap(real(f), page, size, extend, p);
  };
  g_methods.xShmLock = [](sqlite3_file* f, int o, int n, int flags) {
    return real(f)->pMethods->xShmLock(real(f), o, n, flags);
  };
  g_methods.xShmBarrier = [](sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); };
  g_methods.xShmUnmap = [](sqlite3_file* f, int d) { return real(f)->pMethods->xShmUnmap(real(f), d); };
}

int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;
  const int code = system_vfs()->xOpen(system_vfs(), name, real(file), flags, out_flags);
  if (code != SQLITE_OK) return code;
  set_up_methods(*real(file)->pMethods);
  of(file).name = ::strdup(name == nullptr ? "" : std::filesystem::path(name).filename().c_str());
  file->pMethods = &g_methods;
  return code;
}

int delete_file(sqlite3_vfs*, const char* name, int sync_folder) {
  const int code = system_vfs()->xDelete(system_vfs(), name, sync_folder);
  if (code == SQLITE_OK) g_disk->done({FaultDisk::Op::Kind::kDelete, std::filesystem::path(name).filename(), 0, ""});
  return code;
}

/// What arrives of a write that was not synced: nothing, all, or some sectors from the front.
size_t part_that_arrives(size_t size, std::mt19937& random) {
  constexpr size_t kSector = 512;
  switch (random() % 3) {
    case 0:
      return 0;
    case 1:
      return size;
    default:
      return std::min(size, (random() % (size / kSector + 1)) * kSector);
  }
}

void apply(std::string& file, const FaultDisk::Op& op, size_t size) {
  if (op.kind == FaultDisk::Op::Kind::kTruncate) {
    file.resize(op.offset);
  } else {
    if (file.size() < op.offset + size) file.resize(op.offset + size);
    file.replace(op.offset, size, op.data, 0, size);
  }
}

}  // namespace

FaultDisk::FaultDisk() {
  if (g_disk != nullptr) throw std::logic_error("one fault disk at a time");
  g_disk = this;
  sqlite3_vfs* system = sqlite3_vfs_find(nullptr);
  g_vfs = *system;
  g_vfs.iVersion = 2;
  g_vfs.szOsFile = static_cast<int>(sizeof(File)) + system->szOsFile;
  g_vfs.pNext = nullptr;
  g_vfs.zName = kName;
  g_vfs.pAppData = system;
  g_vfs.xOpen = open_file;
  g_vfs.xDelete = delete_file;
  sqlite3_vfs_register(&g_vfs, 0);
}

FaultDisk::~FaultDisk() {
  sqlite3_vfs_unregister(&g_vfs);
  g_disk = nullptr;
}

void FaultDisk::fail(Fault fault, int nth) {
  fault_ = fault;
  left_ = nth;
  fired_ = false;
}

int FaultDisk::before(const Op& op) {
  if (!fault_) return SQLITE_OK;
  if ((op.kind == Op::Kind::kSync) != (*fault_ == Fault::kSyncError)) return SQLITE_OK;
  if (left_ > 1) return --left_, SQLITE_OK;
  fired_ = true;
  switch (*fault_) {
    case Fault::kFull:
      return SQLITE_FULL;
    case Fault::kWriteError:
      return SQLITE_IOERR_WRITE;
    case Fault::kSyncError:
      break;
  }
  fault_.reset();  // as Linux does: the next fsync of the same file says that all is well
  return SQLITE_IOERR_FSYNC;
}

void FaultDisk::after_power_cut(size_t moment, uint32_t seed, const std::filesystem::path& to) const {
  std::mt19937 random(seed);
  std::map<std::string, size_t> synced;  // file -> operations before this one are on the disk
  for (size_t i = 0; i < moment; ++i) {
    if (log_[i].kind == Op::Kind::kSync) synced[log_[i].file] = i;
  }
  std::map<std::string, std::string> files;
  for (size_t i = 0; i < moment; ++i) {
    const Op& op = log_[i];
    if (op.kind == Op::Kind::kSync) continue;
    if (op.kind == Op::Kind::kDelete) {
      files.erase(op.file);
      continue;
    }
    const bool sure = synced.contains(op.file) && i < synced[op.file];
    const size_t size =
        sure || op.kind == Op::Kind::kTruncate ? op.data.size() : part_that_arrives(op.data.size(), random);
    if (!sure && op.kind == Op::Kind::kTruncate && random() % 2 == 0) continue;
    if (sure || size > 0 || op.kind == Op::Kind::kTruncate) apply(files[op.file], op, size);
  }
  std::filesystem::create_directories(to);
  for (const auto& [name, bytes] : files) std::ofstream(to / name, std::ios::binary) << bytes;
}

}  // namespace kvasir::test
