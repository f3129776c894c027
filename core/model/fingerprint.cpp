#include "core/model/fingerprint.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace kvasir {
namespace {

/// A streaming XXH3-128 with the lengths of variable parts mixed in, so that parts cannot run into each other.
class Digest {
 public:
  Digest() : state_(XXH3_createState()) { XXH3_128bits_reset(state_); }
  ~Digest() { XXH3_freeState(state_); }
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void bytes(const void* data, size_t size) { XXH3_128bits_update(state_, data, size); }
  void number(uint64_t value) { bytes(&value, sizeof value); }
  void text(std::string_view text) {
    number(text.size());
    bytes(text.data(), text.size());
  }
  XXH128_hash_t value() const { return XXH3_128bits_digest(state_); }
  std::string hex() const {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, value());
    std::string out;
    for (const unsigned char byte : canonical.digest) {
      std::array<char, 3> pair{};
      std::snprintf(pair.data(), pair.size(), "%02x", byte);
      out += pair.data();
    }
    return out;
  }

 private:
  XXH3_state_t* state_;
};

void add_value(Digest& digest, const MetaValue& value) {
  digest.number(value.index());
  if (const auto* scalar = std::get_if<MetaScalar>(&value)) {
    digest.number(static_cast<uint64_t>(scalar->type));
    digest.number(scalar->bits);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    digest.text(*text);
  } else {
    const auto& array = std::get<MetaArray>(value);
    digest.number(static_cast<uint64_t>(array.element));
    digest.number(array.count);
    digest.text(array.bytes);
    for (const std::string& s : array.strings) digest.text(s);
  }
}

std::vector<const FileTensor*> in_name_order(const ModelFile& file) {
  std::vector<const FileTensor*> order;
  for (const FileTensor& tensor : file.tensors()) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const FileTensor* a, const FileTensor* b) { return a->name < b->name; });
  return order;
}

/// Order of keys and tensors in the file does not matter.
void add_header(Digest& digest, const ModelFile& file) {
  std::vector<std::string> keys = file.metadata().keys();
  std::sort(keys.begin(), keys.end());
  digest.number(keys.size());
  for (const std::string& key : keys) {
    digest.text(key);
    add_value(digest, *file.metadata().find(key));
  }
  for (const FileTensor* tensor : in_name_order(file)) {
    digest.text(tensor->name);
    digest.number(static_cast<uint64_t>(tensor->type));
    for (const uint64_t d : tensor->dims) digest.number(d);
  }
}

}  // namespace

std::string header_fingerprint(const ModelFile& file) {
  Digest digest;
  add_header(digest, file);
  return digest.hex();
}

WeightHasher::WeightHasher(const ModelFile& file)
    : file_(file), work_(std::async(std::launch::async, [this] { return hash(); })) {}

WeightHasher::~WeightHasher() {
  stop_ = true;
  if (work_.valid()) work_.wait();
}

Result<std::string> WeightHasher::result() {
  return work_.get();
}

Result<std::string> WeightHasher::hash() {
  struct Item {
    const FileTensor* tensor;
    XXH128_hash_t hash;
  };
  std::vector<Item> items;
  for (const FileTensor* tensor : in_name_order(file_.stored())) items.push_back({tensor, {}});
  std::vector<Item*> by_offset;
  for (Item& item : items) by_offset.push_back(&item);
  // As the loader reads: file by file, forward.
  std::sort(by_offset.begin(), by_offset.end(), [](const Item* a, const Item* b) {
    if (a->tensor->source != b->tensor->source) return std::less<>()(a->tensor->source, b->tensor->source);
    return a->tensor->offset < b->tensor->offset;
  });
  std::vector<std::byte> buffer(1u << 20);
  for (Item* item : by_offset) {
    Digest digest;
    for (uint64_t at = 0; at < item->tensor->bytes; at += buffer.size()) {
      if (stop_) return Failure(Code::kCancelled, "loading was cancelled");
      const auto piece = std::span(buffer).first(std::min<uint64_t>(buffer.size(), item->tensor->bytes - at));
      KVASIR_TRY(item->tensor->source->read(item->tensor->offset + at, piece));
      digest.bytes(piece.data(), piece.size());
    }
    item->hash = digest.value();
  }
  Digest all;
  add_header(all, file_);
  for (const Item& item : items) {
    all.number(item.hash.low64);
    all.number(item.hash.high64);
  }
  return all.hex();
}

}  // namespace kvasir
