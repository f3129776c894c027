#include "rpc/net/outbox.h"

namespace kvasir::rpc {
namespace {
constexpr size_t kKeptCapacityBytes = 16u << 10;  // an idle connection holds no more
}

bool Outbox::push(std::string_view bytes) {
  if (this->bytes() > hard_bytes_) return false;
  if (head_ > buffer_.size() / 2) {
    buffer_.erase(0, head_);
    head_ = 0;
  }
  buffer_ += bytes;
  return true;
}

void Outbox::pop(size_t count) {
  head_ += count;
  if (head_ < buffer_.size()) return;
  head_ = 0;
  if (buffer_.capacity() > kKeptCapacityBytes) {
    std::string().swap(buffer_);
  } else {
    buffer_.clear();
  }
}

}  // namespace kvasir::rpc
