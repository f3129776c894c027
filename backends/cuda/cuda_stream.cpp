#include "backends/cuda/cuda_stream.h"

#include <algorithm>
#include <bit>

namespace kvasir::cuda {

CudaStream::CudaStream(Device& device, const StreamOptions& options, HalfCopies& copies)
    : device_(device), options_(options), copies_(copies), arena_(device, options.arena_bytes), in_(device, options.mirror_bytes),
      out_(device, options.mirror_bytes), graphs_(device, options.graphs, options.overlap) {}

void CudaStream::fail(Error error) noexcept {
  too_large_ |= error.code == Code::kTooLarge;
  if (!error_) error_ = std::move(error);
}

bool CudaStream::require(bool condition, const char* what) noexcept {
  if (!condition) fail({Code::kInternal, std::string("cuda stream: ") + what});
  return condition && !error_;
}

void CudaStream::unsupported(const char* op) noexcept { fail({Code::kUnsupported, std::string("op not supported by this backend: ") + op}); }

bool CudaStream::fits(const Weight* vector, uint64_t values) noexcept {
  return require(vector == nullptr || (cuda_weight(*vector).is_vector() && cuda_weight(*vector).value_count() == values), "a vector has another size");
}

const void* CudaStream::bring_in(const void* from, uint64_t bytes) noexcept {
  if (error_) return nullptr;
  auto place = in_.take(bytes);
  if (!place) {
    fail(std::move(place).error());
    return nullptr;
  }
  if (bytes > 0) std::memcpy(place->host, from, bytes);
  return place->device;
}

void CudaStream::begin(const StepLayout& layout, KvPool* pool) noexcept {
  error_.reset();
  copies_.settle(filling_, false);  // of a step that never ran
  filling_.clear();
  if (too_large_ && copies_.bytes() > 0) copies_.give_up();
  too_large_ = false;
  arena_.reset();
  in_.reset();
  out_.reset();
  recorded_.clear();
  downloads_.clear();
  page_tables_.clear();
  mass_places_.clear();
  tables_ = {};
  layout_ = &layout;
  pool_ = static_cast<CudaKvPool*>(pool);
  uint32_t expected = 0;
  for (const SequenceRows& sequence : layout.sequences) {
    if (!require(sequence.first_row == expected && sequence.n_rows <= layout.rows - expected, "sequences must cover the rows in order")) return;
    expected += sequence.n_rows;
  }
  if (!require(layout.sequences.empty() || expected == layout.rows, "sequences must cover the rows in order")) return;
  if (!require(layout.rows <= kMaxRows, "too many rows")) return;
  lay_out_rows();
}

/// Positions, slots and sequences of the step's rows, in one piece.
void CudaStream::lay_out_rows() noexcept {
  const size_t rows = layout_->rows, sequences = layout_->sequences.size();
  if (rows == 0 || sequences == 0) return;
  rows_scratch_.assign(3 * rows + 3 * sequences, 0);
  uint32_t* positions = rows_scratch_.data();
  uint32_t *slots = positions + rows, *owner = slots + rows, *first = owner + rows, *count = first + sequences, *state = count + sequences;
  for (uint32_t s = 0; s < sequences; ++s) {
    const SequenceRows& sequence = layout_->sequences[s];
    first[s] = sequence.first_row;
    count[s] = sequence.n_rows;
    state[s] = sequence.state_slot;
    for (uint32_t i = 0; i < sequence.n_rows; ++i) {
      positions[sequence.first_row + i] = sequence.first_position + i;
      slots[sequence.first_row + i] = sequence.first_slot + i;
      owner[sequence.first_row + i] = s;
    }
  }
  const uint32_t* at = bring_in(std::span<const uint32_t>(rows_scratch_));
  if (at == nullptr) return;
  tables_ = {at, at + rows, at + 2 * rows, at + 3 * rows, at + 3 * rows + sequences, at + 3 * rows + 2 * sequences};
  page_tables_.resize(pool_ == nullptr ? 0 : pool_->spec().group_pages.size());
}

Mat CudaStream::alloc(uint32_t rows, uint32_t cols) noexcept {
  const size_t stride = (size_t{cols} + 31) / 32 * 32;  // whole quantisation blocks, 128-byte rows
  auto* data = scratch<float>(rows * stride);
  return {data, rows, cols, stride};
}

void CudaStream::upload(Mat y, std::span<const float> from) noexcept {
  if (!has_data(y) || !require(from.size() >= uint64_t{y.rows} * y.cols, "upload from too little memory")) return;
  const float* there = bring_in(from.first(size_t{y.rows} * y.cols));
  if (there != nullptr) copy_rows(y, there, y.cols, nullptr);
}

void CudaStream::download(std::span<float> into, Mat x) noexcept {
  if (!has_data(x) || !require(into.size() >= uint64_t{x.rows} * x.cols, "download into too little memory")) return;
  const uint64_t values = uint64_t{x.rows} * x.cols;
  auto place = out_.take(values * sizeof(float));
  if (!place) return fail(std::move(place).error());
  copy_rows({reinterpret_cast<float*>(place->device), x.rows, x.cols, x.cols}, x.data, x.stride, nullptr);
  downloads_.push_back({std::as_writable_bytes(into.first(values)), place->host});
}

Result<void> CudaStream::finish() noexcept {
  if (error_) return Failure(*error_);
  program_.clear();
  for (const Mirror::Chunk& chunk : in_.chunks()) {
    if (chunk.used > 0) program_.copy_in(chunk.device.data(), chunk.host.data(), chunk.used);
  }
  program_.append(recorded_);
  for (const Mirror::Chunk& chunk : out_.chunks()) {
    if (chunk.used > 0) program_.copy_out(chunk.host.data(), chunk.device.data(), chunk.used);
  }
  recorded_.clear();
  auto ran = graphs_.run(program_);
  auto waited = device_.synchronize();  // also after an error: nothing may still use this step's memory
  copies_.settle(filling_, ran.has_value() && waited.has_value());
  filling_.clear();
  if (!ran) return ran;
  if (!waited) return waited;
  for (const Download& d : downloads_) std::memcpy(d.into.data(), d.from, d.into.size());
  return {};
}

bool CudaStream::kv_usable(uint32_t kv_layer) noexcept {
  return require(pool_ != nullptr && kv_layer < pool_->spec().layers.size(), "no such KV layer") &&
         require(tables_.positions != nullptr && pool_->spec().layers[kv_layer].n_kv_heads > 0, "a step without sequences, or a layer without heads");
}

bool CudaStream::pages_there(uint32_t group, uint32_t window, PageUse use) noexcept {
  for (const SequenceRows& sequence : layout_->sequences) {
    if (sequence.n_rows == 0) continue;
    if (!require(group < sequence.pages.size(), "a sequence has no page table for a group")) return false;
    const std::vector<PageId>& pages = sequence.pages[group];
    const uint32_t low = window != 0 && sequence.first_slot + 1 > window ? sequence.first_slot + 1 - window : 0;
    const uint32_t last = (sequence.first_slot + sequence.n_rows - 1) / kPageTokens;
    for (uint32_t page = low / kPageTokens; page <= last; ++page) {
      const bool there = page < pages.size() && pool_->names_page(group, pages[page]) && (use == PageUse::kRead || !is_aged(pages[page]));
      if (!require(there, "a page of the window is missing")) return false;
    }
  }
  return true;
}

KvLayerView CudaStream::kv_layer(uint32_t kv_layer) noexcept {
  const uint32_t group = pool_->spec().layers[kv_layer].group;
  PageTable& table = page_tables_[group];
  if (table.device == nullptr) {
    size_t longest = 16;
    for (const SequenceRows& s : layout_->sequences) {
      if (group < s.pages.size()) longest = std::max(longest, s.pages[group].size());
    }
    table.stride = static_cast<uint32_t>(std::bit_ceil(longest));  // changes rarely: it is part of a graph's identity
    rows_scratch_.assign(layout_->sequences.size() * table.stride, 0);  // entries that are no page are never read
    for (size_t s = 0; s < layout_->sequences.size(); ++s) {
      const auto& pages = layout_->sequences[s].pages;
      if (group < pages.size()) std::ranges::copy(pages[group], rows_scratch_.begin() + static_cast<std::ptrdiff_t>(s * table.stride));
    }
    table.device = bring_in(std::span<const uint32_t>(rows_scratch_));
  }
  KvLayerView view = pool_->layer(kv_layer);
  view.pages = table.device;
  view.table_stride = table.stride;
  return view;
}

}  // namespace kvasir::cuda
