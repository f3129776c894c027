#include "backends/cpu/packed_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string_view>

#include "core/base/bytes.h"

namespace kvasir::cpu {

struct PackedFile::Header {
  std::string key, note;
  uint64_t data_offset = 0, data_bytes = 0;
  std::vector<std::pair<uint64_t, Place>> tensors;
  std::vector<uint64_t> pieces;
};

namespace {

constexpr std::string_view kMagic = "KVPACK01";
constexpr uint64_t kPrefixBytes = 8 + 8 + 16;
constexpr uint64_t kMaxHeaderBytes = uint64_t{16} << 20;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kPiece = uint64_t{4} << 20;
constexpr uint64_t kReadBytes = uint64_t{256} << 10;  // while they are in a cache they are hashed
constexpr uint64_t kAlignment = 64;

struct Descriptor {
  int fd = -1;
  explicit Descriptor(int opened) : fd(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

uint64_t pieces_of(uint64_t bytes) { return (bytes + kPiece - 1) / kPiece; }
uint64_t piece_bytes(uint64_t bytes, uint64_t index) { return std::min(kPiece, bytes - index * kPiece); }

bool read_all(int fd, void* into, uint64_t size, uint64_t offset) {
  auto* at = static_cast<char*>(into);
  while (size > 0) {
    const ssize_t got = ::pread(fd, at, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<uint64_t>(got);
  }
  return true;
}

bool write_all(int fd, const void* from, uint64_t size, uint64_t offset) {
  const auto* at = static_cast<const char*>(from);
  while (size > 0) {
    const ssize_t wrote = ::pwrite(fd, at, size, static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    at += wrote;
    offset += static_cast<uint64_t>(wrote);
    size -= static_cast<uint64_t>(wrote);
  }
  return true;
}

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, const std::string& text) {
  put(out, static_cast<uint32_t>(text.size()));
  out += text;
}

uint64_t data_bytes_of(std::span<const PackedTensor> tensors) {
  uint64_t bytes = 0;
  for (const PackedTensor& tensor : tensors) bytes += (tensor.block.bytes + kAlignment - 1) / kAlignment * kAlignment;
  return bytes;
}

uint64_t header_bytes_of(const std::string& key, const std::string& note, size_t tensors, uint64_t pieces) {
  return kPrefixBytes + 4 + key.size() + 4 + note.size() + 16 + 4 + 24 * tensors + 4 + 8 * pieces;
}

uint64_t data_offset_of(uint64_t header_bytes) { return (header_bytes + kHugePage - 1) / kHugePage * kHugePage; }

std::string header_of(const std::string& key, const std::string& note, std::span<const PackedTensor> tensors,
                      std::span<const uint64_t> pieces) {
  const uint64_t header_bytes = header_bytes_of(key, note, tensors.size(), pieces.size());
  std::string rest;
  put_text(rest, key);
  put_text(rest, note);
  put(rest, data_offset_of(header_bytes));
  put(rest, data_bytes_of(tensors));
  put(rest, static_cast<uint32_t>(tensors.size()));
  uint64_t offset = 0;
  for (const PackedTensor& tensor : tensors) {
    put(rest, tensor.tensor);
    put(rest, offset);
    put(rest, tensor.block.bytes);
    offset += (tensor.block.bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  put(rest, static_cast<uint32_t>(pieces.size()));
  for (const uint64_t piece : pieces) put(rest, piece);
  const XXH128_hash_t hash = XXH3_128bits_withSeed(rest.data(), rest.size(), header_bytes);
  std::string out(kMagic);
  put(out, header_bytes);
  put(out, hash.low64);
  put(out, hash.high64);
  return out + rest;
}

std::optional<std::string> take_text(ByteReader& reader) {
  const auto size = reader.read<uint32_t>();
  const auto text = size ? reader.read_bytes(*size) : std::nullopt;
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

/// Part of a mapping of the file, or nothing. Gives the memory back with its last user.
std::shared_ptr<const void> map_file(int fd, uint64_t offset, uint64_t bytes, uint8_t*& data) {
  // Huge pages begin at their own multiples only: more is reserved, and what is around given back.
  const uint64_t length = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  void* whole = mmap(nullptr, length + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (whole == MAP_FAILED) return nullptr;
  const uint64_t before = (kHugePage - reinterpret_cast<uintptr_t>(whole) % kHugePage) % kHugePage;
  uint8_t* at = static_cast<uint8_t*>(whole) + before;
  if (before > 0) munmap(whole, before);
  munmap(at + length, kHugePage - before);
  if (mmap(at, bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, static_cast<off_t>(offset)) == MAP_FAILED) {
    munmap(at, length);
    return nullptr;
  }
  data = at;
  return {at, [length](void* memory) { munmap(memory, length); }};
}

/// Runs body(piece index) for all pieces, those next to each other by the same thread; false if any says so.
template <class Body>
bool for_pieces(uint64_t bytes, Team& team, const Body& body) {
  std::atomic<bool> good{true};
  const uint64_t pieces = pieces_of(bytes);
  team.run([&](const Worker& worker) {
    for (uint64_t i = worker.begin(pieces); i < worker.end(pieces) && good; ++i) {
      if (!body(i)) good = false;
    }
  });
  return good;
}

/// Bytes of the mapping at `data` that lie in huge pages, as the kernel tells; 0 where it does not.
uint64_t huge_bytes(const uint8_t* data) {
  std::ifstream maps("/proc/self/smaps");
  char start[20];
  std::snprintf(start, sizeof start, "%zx-", reinterpret_cast<uintptr_t>(data));
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    const bool is_field = line.find(':') < line.find(' ');
    if (!is_field) here = line.starts_with(start);
    if (here && line.starts_with("FilePmdMapped:")) return std::strtoull(line.c_str() + 14, nullptr, 10) << 10;
  }
  return 0;
}

}  // namespace

uint64_t packed_file_bytes(std::span<const PackedTensor> tensors, const std::string& key, const std::string& note) {
  const uint64_t data = data_bytes_of(tensors);
  return data_offset_of(header_bytes_of(key, note, tensors.size(), pieces_of(data))) + data;
}

/// Everything that a hash proves to be what was written; what it says of sizes is checked against the file all the same.
Result<PackedFile::Header> PackedFile::read_header(int fd, uint64_t file_bytes) {
  const Failure damaged{Code::kCorrupt, "its header is damaged"};
  char prefix[kPrefixBytes];
  if (file_bytes < kPrefixBytes || !read_all(fd, prefix, kPrefixBytes, 0)) return damaged;
  ByteReader start(std::as_bytes(std::span(prefix)));
  const bool ours = *start.read_bytes(kMagic.size()) == kMagic;
  const uint64_t header_bytes = *start.read<uint64_t>();
  if (!ours || header_bytes < kPrefixBytes || header_bytes > std::min(kMaxHeaderBytes, file_bytes)) return damaged;
  std::vector<std::byte> rest(header_bytes - kPrefixBytes);
  if (!read_all(fd, rest.data(), rest.size(), kPrefixBytes)) return damaged;
  const XXH128_hash_t hash = XXH3_128bits_withSeed(rest.data(), rest.size(), header_bytes);
  if (hash.low64 != *start.read<uint64_t>() || hash.high64 != *start.read<uint64_t>()) return damaged;

  ByteReader reader(rest);
  Header header;
  auto key = take_text(reader), note = take_text(reader);
  const auto data_offset = reader.read<uint64_t>(), data_bytes = reader.read<uint64_t>();
  const auto tensors = reader.read<uint32_t>();
  if (!key || !note || !tensors || *data_offset != data_offset_of(header_bytes)) return damaged;
  if (*data_bytes == 0 || file_bytes < *data_offset || file_bytes - *data_offset != *data_bytes) {
    return Failure{Code::kCorrupt, "it is not as long as it says"};
  }
  header.key = *std::move(key);
  header.note = *std::move(note);
  header.data_offset = *data_offset;
  header.data_bytes = *data_bytes;
  for (uint32_t i = 0; i < *tensors; ++i) {
    const auto name = reader.read<uint64_t>(), offset = reader.read<uint64_t>(), bytes = reader.read<uint64_t>();
    if (!bytes || *offset % kAlignment != 0 || *offset > *data_bytes || *bytes > *data_bytes - *offset) return damaged;
    header.tensors.emplace_back(*name, Place{*offset, *bytes});
  }
  const auto pieces = reader.read<uint32_t>();
  if (!pieces || *pieces != pieces_of(*data_bytes) || reader.remaining() != uint64_t{8} * *pieces) return damaged;
  for (uint32_t i = 0; i < *pieces; ++i) header.pieces.push_back(*reader.read<uint64_t>());
  return header;
}

/// True if the data lie in huge pages of the page cache and are mapped.
bool PackedFile::map(int fd, const Header& header, Team& team) {
  memory_ = map_file(fd, header.data_offset, header.data_bytes, data_);
  if (!memory_) return false;
  madvise(data_, header.data_bytes, MADV_HUGEPAGE);
#ifdef MADV_POPULATE_READ
  // Reads what is not in memory; a disk that fails is an error here and not a signal later.
  mapped_ = for_pieces(header.data_bytes, team, [&](uint64_t i) {
    return madvise(data_ + i * kPiece, piece_bytes(header.data_bytes, i), MADV_POPULATE_READ) == 0;
  });
#endif
  mapped_ = mapped_ && huge_bytes(data_) >= header.data_bytes / 8 * 7;
  if (!mapped_) memory_.reset();
  return mapped_;
}

Result<void> PackedFile::read(int fd, const Header& header, Team& team) {
  const auto buffer = std::make_shared<const AlignedBuffer>(KVASIR_TRY(AlignedBuffer::create(header.data_bytes)));
  data_ = buffer->data();
  memory_ = buffer;
  const bool good = for_pieces(header.data_bytes, team, [&](uint64_t i) {
    const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
    XXH3_64bits_reset(state.get());
    const uint64_t end = i * kPiece + piece_bytes(header.data_bytes, i);
    for (uint64_t at = i * kPiece; at < end; at += kReadBytes) {
      const uint64_t size = std::min(kReadBytes, end - at);
      if (!read_all(fd, data_ + at, size, header.data_offset + at)) return false;
      XXH3_64bits_update(state.get(), data_ + at, size);
    }
    return XXH3_64bits_digest(state.get()) == header.pieces[i];
  });
  if (!good) return Failure{Code::kCorrupt, "its weights are damaged"};
  return {};
}

Result<std::unique_ptr<PackedFile>> PackedFile::open(const std::string& path, const std::string& key, Team& team) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.fd < 0) return Failure{errno == ENOENT ? Code::kNotFound : Code::kIo, std::strerror(errno)};
  struct stat facts{};
  if (::fstat(file.fd, &facts) != 0 || !S_ISREG(facts.st_mode)) return Failure{Code::kIo, "it is no regular file"};
  if (facts.st_uid != ::geteuid() || (facts.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return Failure{Code::kIo, "others may write it"};
  }
  const Header header = KVASIR_TRY(read_header(file.fd, static_cast<uint64_t>(facts.st_size)));
  if (header.key != key) return Failure{Code::kNotFound, "it holds something else"};
  std::unique_ptr<PackedFile> out(new PackedFile);
  out->bytes_ = header.data_bytes;
  out->note_ = header.note;
  for (const auto& [name, place] : header.tensors) out->places_.emplace(name, place);
  if (!out->map(file.fd, header, team)) {
    KVASIR_TRY(out->read(file.fd, header, team));
  } else if (!for_pieces(header.data_bytes, team, [&](uint64_t i) {
               return XXH3_64bits(out->data_ + i * kPiece, piece_bytes(header.data_bytes, i)) == header.pieces[i];
             })) {
    return Failure{Code::kCorrupt, "its weights are damaged"};
  }
  ::futimens(file.fd, nullptr);  // used now: others go first when there is no room
  return out;
}

std::optional<WeightBlock> PackedFile::find(uint64_t tensor, uint64_t bytes) const {
  const auto found = places_.find(tensor);
  if (found == places_.end() || found->second.bytes != bytes) return std::nullopt;
  return WeightBlock{memory_, data_ + found->second.offset, bytes};
}

namespace {

/// The data piece by piece, and what each hashes to. False: the disk would not, or `stop`.
bool write_data(int fd, uint64_t offset, std::span<const PackedTensor> tensors, std::vector<uint64_t>& pieces,
                const std::stop_token& stop) {
  std::vector<uint8_t> piece;
  piece.reserve(kPiece);
  const auto flush = [&] {
    const uint64_t at = offset + pieces.size() * kPiece;
    pieces.push_back(XXH3_64bits(piece.data(), piece.size()));
    const bool good = !stop.stop_requested() && write_all(fd, piece.data(), piece.size(), at);
    piece.clear();
    return good;
  };
  for (const PackedTensor& tensor : tensors) {
    const uint64_t padded = (tensor.block.bytes + kAlignment - 1) / kAlignment * kAlignment;
    for (uint64_t at = 0; at < padded;) {
      const uint64_t room = kPiece - piece.size();
      const uint64_t part = std::min(room, padded - at);
      const uint64_t real = std::min(part, tensor.block.bytes - std::min(at, tensor.block.bytes));
      piece.insert(piece.end(), tensor.block.data + at, tensor.block.data + at + real);
      piece.resize(piece.size() + (part - real));
      at += part;
      if (piece.size() == kPiece && !flush()) return false;
    }
  }
  return piece.empty() || flush();
}

}  // namespace

Result<void> write_packed_file(const std::string& path, const std::string& key, const std::string& note,
                               std::span<const PackedTensor> tensors, const std::stop_token& stop) {
  const std::string partial = path + "." + std::to_string(::getpid()) + ".tmp";
  ::unlink(partial.c_str());
  bool done = false;
  {
    const Descriptor file(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.fd < 0) return Failure{Code::kIo, "cannot write " + partial + ": " + std::strerror(errno)};
    std::vector<uint64_t> pieces;
    const uint64_t whole = packed_file_bytes(tensors, key, note);
    done = write_data(file.fd, whole - data_bytes_of(tensors), tensors, pieces, stop);
    const std::string header = header_of(key, note, tensors, pieces);
    done = done && write_all(file.fd, header.data(), header.size(), 0);
  }
  done = done && ::rename(partial.c_str(), path.c_str()) == 0;
  if (done) return {};
  const std::string why = std::strerror(errno);
  ::unlink(partial.c_str());
  if (stop.stop_requested()) return Failure{Code::kCancelled, "the process ends"};
  return Failure{Code::kIo, "cannot write " + path + ": " + why};
}

}  // namespace kvasir::cpu
