#include "backends/cpu/cpu_stream.h"

#include <algorithm>
#include <string>

namespace kvasir::cpu {
namespace {

bool any_overlap(std::span<const Span> a, std::span<const Span> b) noexcept {
  for (const Span& x : a) {
    for (const Span& y : b) {
      if (touches(x, y)) return true;
    }
  }
  return false;
}

}  // namespace

CpuStream::CpuStream(const KernelTable& kernels, Team& team, Activations activations)
    : kernels_(kernels), team_(team), exact_(activations == Activations::kF32), scratch_(team.size()) {}

void CpuStream::begin(const StepLayout& layout, KvPool* pool) noexcept {
  arena_.reset();
  matrices_.reset();
  if (packed_.size() > 1) packed_.erase(packed_.begin(), packed_.end() - 1);
  ops_.clear();
  pending_reads_.clear();
  pending_writes_.clear();
  rope_tables_.clear();
  deferred_ = {};
  slots_of_group_.clear();
  scratch_needed_ = 0;
  error_.reset();
  layout_ = &layout;
  pool_ = static_cast<CpuKvPool*>(pool);
  auto* positions = take<uint32_t>(layout.rows);
  positions_ = positions;
  uint32_t expected = 0;
  for (const SequenceRows& sequence : layout.sequences) {
    if (!require(sequence.first_row == expected && sequence.n_rows <= layout.rows - expected, "sequences must cover the rows in order")) return;
    for (uint32_t i = 0; positions != nullptr && i < sequence.n_rows; ++i) positions[expected + i] = sequence.first_position + i;
    expected += sequence.n_rows;
  }
  // steps without sequences (only row ops) are allowed
  require(layout.sequences.empty() || expected == layout.rows, "sequences must cover the rows in order");
}

Mat CpuStream::alloc(uint32_t rows, uint32_t cols) noexcept {
  size_t stride = (size_t{cols} + 15) / 16 * 16;
  if (stride % 1024 == 0 && rows > 1) stride += 16;  // rows 4 KiB apart would share cache sets
  auto* data = reinterpret_cast<float*>(matrices_.take(rows * stride * sizeof(float)));
  if (data == nullptr) fail(Code::kTooLarge, "out of memory for activations");
  return {data, rows, cols, stride};
}

void CpuStream::fail(Code code, const char* message) noexcept {
  if (!error_) error_ = Error{code, message};
}

bool CpuStream::require(bool condition, const char* what) noexcept {
  if (!condition && !error_) error_ = Error{Code::kInternal, std::string("cpu stream: ") + what};
  return condition;
}

void CpuStream::unsupported(const char* op) noexcept {
  if (!error_) error_ = Error{Code::kUnsupported, std::string("op not supported by this backend: ") + op};
}

void CpuStream::append(RunFunction run, const void* args, std::span<const Span> reads, std::span<const Span> writes) noexcept {
  flush_rope_store();
  if (error_) return;
  const bool depends = any_overlap(reads, pending_writes_) || any_overlap(writes, pending_writes_) ||
                       any_overlap(writes, pending_reads_);
  if (depends) {
    pending_reads_.clear();
    pending_writes_.clear();
  }
  pending_reads_.insert(pending_reads_.end(), reads.begin(), reads.end());
  pending_writes_.insert(pending_writes_.end(), writes.begin(), writes.end());
  ops_.push_back({run, args, depends});
}

uint8_t* CpuStream::take_packed(uint64_t bytes) noexcept {
  if (packed_.empty() || packed_.back().bytes() < bytes) {
    auto bigger = AlignedBuffer::create(bytes);
    if (!bigger) {
      fail(Code::kTooLarge, "out of memory for packed activations");
      return nullptr;
    }
    packed_.push_back(*std::move(bigger));
  }
  return packed_.back().data();
}

Shares* CpuStream::make_shares(uint64_t items, uint64_t chunk) noexcept {
  const uint32_t workers = team_.size();
  auto* shares = take<Shares>(workers);
  for (uint32_t i = 0; shares != nullptr && i < workers; ++i) (new (&shares[i]) Shares)->reset(items, std::max<uint64_t>(chunk, 1), i, workers);
  return shares;
}

Result<void> CpuStream::finish() noexcept {
  flush_rope_store();
  for (AlignedBuffer& buffer : scratch_) {
    if (error_ || buffer.bytes() >= scratch_needed_) continue;
    auto bigger = AlignedBuffer::create(scratch_needed_);
    if (!bigger) fail(Code::kTooLarge, "out of memory for kernel scratch");
    else buffer = *std::move(bigger);
  }
  if (error_) return Failure(*error_);
  barriers_ = static_cast<uint32_t>(std::ranges::count_if(ops_, [](const Op& op) { return op.barrier_before; }));
  team_.run([this](const Worker& worker) {
    const OpContext context{worker, kernels_, scratch_[worker.index].data()};
    for (const Op& op : ops_) {
      if (op.barrier_before) worker.meet();
      op.run(op.args, context);
    }
  });
  ops_.clear();
  pending_reads_.clear();
  pending_writes_.clear();
  return {};
}

}  // namespace kvasir::cpu
