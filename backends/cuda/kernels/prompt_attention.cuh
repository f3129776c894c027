// Attention of many rows of a sequence at once, on tensor cores, online as in FlashAttention-2 (Dao 2023, arXiv:2307.08691).
// A block takes 64 items, an item being a row and one of the query heads that share a KV head, so that a page's keys and
// values are fetched once for all of these; a warp takes 16 items. Halves go in (queries and weights are rounded), sums and
// the softmax are f32, in powers of two. A page is a tile: its values are on their way while its keys are multiplied, the
// next page's keys while its values are. A tile that an item does not see changes none of its bits, so an item's result
// depends on its own position only, not on who shares its block.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/async_copy.cuh"
#include "backends/cuda/kernels/kv_page.cuh"
#include "backends/cuda/kernels/mma.cuh"
#include "backends/cuda/kernels/prompt_shape.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

constexpr uint32_t kPromptThreads = kPromptWarps * kWarp;

/// What a block works on.
struct PromptTile {
  uint32_t sequence, first_row, first_item, items;  ///< items: of the whole sequence
};
/// Blocks are numbered through the sequences with many rows. The last ones see most and begin first.
KVASIR_DEVICE bool find_prompt_tile(const PromptAttentionArgs& a, PromptTile& out) {
  uint32_t tile = blocks_x() - 1 - block_x();
  for (uint32_t s = 0; s < a.sequences; ++s) {
    const uint32_t rows = a.step.row_counts[s];
    if (rows <= a.few_rows) continue;
    const uint32_t items = rows * a.group, tiles = (items + kPromptItems - 1) / kPromptItems;
    if (tile < tiles) {
      out = {s, a.step.first_rows[s], tile * kPromptItems, items};
      return true;
    }
    tile -= tiles;
  }
  return false;
}

KVASIR_DEVICE uint32_t window_begin(uint32_t own, uint32_t window) { return window > 0 && own + 1 > window ? own + 1 - window : 0; }

/// Eight values of a page that does not hold halves, as halves; `at(i)` is value i.
template <class At>
KVASIR_DEVICE Bytes16 eight_halves(At at) {
  uint32_t w[4];
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) w[i] = half_pair(clamp_half(at(2 * i)), clamp_half(at(2 * i + 1)));
  return {w[0], w[1], w[2], w[3]};
}
struct alignas(8) Bytes8 {
  uint32_t x, y;
};
KVASIR_DEVICE float int8_of(const Bytes8& q, uint32_t i) { return static_cast<float>(static_cast<int8_t>((i < 4 ? q.x : q.y) >> (8 * (i % 4)))); }

/// Keys of a page, [dim][64] as they lie there, eight tokens per piece. The pieces of a row are crossed with its number, so
/// that eight rows of one column lie in different banks; so are the values'.
template <uint32_t D>
KVASIR_DEVICE void fetch_keys(const KvHeadView& l, const HeadPage& page, uint8_t* to) {
  for (uint32_t i = thread_x(); i < D * 8; i += kPromptThreads) {
    const uint32_t d = i / 8, piece = i % 8;
    uint8_t* at = to + d * 128 + (piece ^ (d & 7U)) * 16;
    if (page.kind == KvKind::kF16) {
      copy_piece(at, page.at + i * 16);
    } else if (page.kind == KvKind::kQ8_0) {
      const Bytes8 q = *reinterpret_cast<const Bytes8*>(page.at + i * 8);
      const uint16_t* scales = key_scale(l, page.at, d / 32, piece * 8);
      *reinterpret_cast<Bytes16*>(at) = eight_halves([&](uint32_t k) { return int8_of(q, k) * half_value(scales[k]); });
    } else {
      *reinterpret_cast<Bytes16*>(at) = eight_halves([&](uint32_t k) { return key_at(l, page, d, piece * 8 + k); });
    }
  }
}
/// Values of a page, [64][dim].
template <uint32_t D>
KVASIR_DEVICE void fetch_values(const KvHeadView& l, const HeadPage& page, uint8_t* to) {
  constexpr uint32_t kPieces = D / 8;
  for (uint32_t i = thread_x(); i < kPageRows * kPieces; i += kPromptThreads) {
    const uint32_t in = i / kPieces, piece = i % kPieces;
    uint8_t* at = to + in * prompt_value_row(D) + (piece ^ (in & 7U)) * 16;
    if (page.kind == KvKind::kF16) {
      copy_piece(at, page.at + l.v + i * 16);
    } else if (page.kind == KvKind::kQ8_0) {
      const Bytes8 q = *reinterpret_cast<const Bytes8*>(page.at + l.v + i * 8);
      const float scale = half_value(*value_scale(l, page.at, piece / 4, in));
      *reinterpret_cast<Bytes16*>(at) = eight_halves([&](uint32_t k) { return int8_of(q, k) * scale; });
    } else {
      *reinterpret_cast<Bytes16*>(at) = eight_halves([&](uint32_t k) { return value_at(l, page, piece * 8 + k, in); });
    }
  }
}

/// A warp's items, two for each lane, by their half (items g and g + 8 of its sixteen).
struct PromptItems {
  uint32_t row[2], head[2], own[2];  ///< own: slot
  bool there[2];
};
KVASIR_DEVICE PromptItems prompt_items(const PromptAttentionArgs& a, const PromptTile& tile, uint32_t kv_head) {
  PromptItems out;
  KVASIR_UNROLL
  for (uint32_t h = 0; h < 2; ++h) {
    const uint32_t item = tile.first_item + warp_id() * 16 + lane_id() / 4 + 8 * h;
    out.there[h] = item < tile.items;
    const uint32_t shown = out.there[h] ? item : tile.items - 1;  // another one's queries, for nothing
    out.row[h] = tile.first_row + shown / a.group;
    out.head[h] = kv_head * a.group + shown % a.group;
    out.own[h] = a.step.slots[out.row[h]];
  }
  return out;
}

/// The A fragment of queries d 16 step...
template <uint32_t D>
KVASIR_DEVICE void query_fragment(const PromptAttentionArgs& a, const PromptItems& items, uint32_t step, uint32_t (&q)[4]) {
  KVASIR_UNROLL
  for (uint32_t i = 0; i < 4; ++i) {
    const float* x = a.q + items.row[i % 2] * a.q_stride + items.head[i % 2] * D + 16 * step + 8 * (i / 2) + 2 * (lane_id() % 4);
    q[i] = half_pair(clamp_half(x[0] * a.q_factor), clamp_half(x[1] * a.q_factor));
  }
}

/// Queries of 16 items: fragments in registers, or in shared memory in the order in which lanes take them.
template <uint32_t D, bool IN_REGISTERS = prompt_queries_in_registers(D)>
struct PromptQueries {
  uint32_t q[D / 16][4];
  KVASIR_DEVICE void load(const PromptAttentionArgs& a, const PromptItems& items, uint8_t*) {
    KVASIR_UNROLL
    for (uint32_t step = 0; step < D / 16; ++step) query_fragment<D>(a, items, step, q[step]);
  }
  KVASIR_DEVICE void take(uint32_t step, uint32_t (&to)[4]) const {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) to[i] = q[step][i];
  }
};
template <uint32_t D>
struct PromptQueries<D, false> {
  Bytes16* mine;
  KVASIR_DEVICE void load(const PromptAttentionArgs& a, const PromptItems& items, uint8_t* shared) {
    mine = reinterpret_cast<Bytes16*>(shared) + warp_id() * (D / 16) * kWarp + lane_id();
    for (uint32_t step = 0; step < D / 16; ++step) {
      uint32_t q[4];
      query_fragment<D>(a, items, step, q);
      mine[step * kWarp] = {q[0], q[1], q[2], q[3]};  // read by this lane only
    }
  }
  KVASIR_DEVICE void take(uint32_t step, uint32_t (&to)[4]) const {
    const Bytes16 q = mine[step * kWarp];
    to[0] = q.x, to[1] = q.y, to[2] = q.z, to[3] = q.w;
  }
};

/// What a lane keeps of its two items over the tiles.
template <uint32_t D>
struct PromptSums {
  float values[D / 8][4];  ///< C fragments
  float largest[2], total[2];
};

/// Scores of 16 items and a page: eight C fragments of eight tokens.
template <uint32_t D>
KVASIR_DEVICE void prompt_scores(const PromptQueries<D>& queries, const uint8_t* keys, float (&s)[8][4]) {
  const uint32_t row = lane_id() % 8, matrix = lane_id() / 8;
  KVASIR_UNROLL
  for (uint32_t n = 0; n < 8; ++n) {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) s[n][i] = 0.0F;
  }
  KVASIR_UNROLL
  for (uint32_t step = 0; step < D / 16; ++step) {
    uint32_t q[4];
    queries.take(step, q);
    const uint8_t* at = keys + (16 * step + 8 * (matrix % 2) + row) * 128;
    KVASIR_UNROLL
    for (uint32_t n = 0; n < 4; ++n) {
      uint32_t k[4];
      load_columns(k, at + ((2 * n + matrix / 2) ^ row) * 16);
      mma_halves(s[2 * n], q, k[0], k[1]);
      mma_halves(s[2 * n + 1], q, k[2], k[3]);
    }
  }
}

/// Scores that may not be seen become minus infinity.
KVASIR_DEVICE void hide_scores(const PromptItems& items, uint32_t window, uint32_t page, float (&s)[8][4]) {
  const uint32_t slot = page * kPageRows + 2 * (lane_id() % 4);
  const uint32_t begin[2] = {window_begin(items.own[0], window), window_begin(items.own[1], window)};
  KVASIR_UNROLL
  for (uint32_t n = 0; n < 8; ++n) {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t at = slot + 8 * n + i % 2;
      if (at > items.own[i / 2] || at < begin[i / 2]) s[n][i] = as_float(0xFF800000U);
    }
  }
}

/// Scores to weights, rounded, as A fragments of 16 tokens; what was summed before shrinks to the new largest score.
template <uint32_t D>
KVASIR_DEVICE void prompt_weights(float (&s)[8][4], PromptSums<D>& sums, uint32_t (&p)[4][4]) {
  float factor[2];
  KVASIR_UNROLL
  for (uint32_t h = 0; h < 2; ++h) {
    float largest = sums.largest[h];
    KVASIR_UNROLL
    for (uint32_t n = 0; n < 8; ++n) largest = fmaxf(largest, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
    largest = fmaxf(largest, shuffle_xor(largest, 1));
    largest = fmaxf(largest, shuffle_xor(largest, 2));
    factor[h] = power_of_two(sums.largest[h] - largest);
    sums.largest[h] = largest;
    float total = 0.0F;
    KVASIR_UNROLL
    for (uint32_t n = 0; n < 8; ++n) {
      const uint32_t pair = half_pair(power_of_two(s[n][2 * h] - largest), power_of_two(s[n][2 * h + 1] - largest));
      p[n / 2][n % 2 * 2 + h] = pair;
      // The sum is of what the values are weighed with.
      total += half_value(static_cast<uint16_t>(pair & 0xFFFFU)) + half_value(static_cast<uint16_t>(pair >> 16U));
    }
    sums.total[h] = fmaf(sums.total[h], factor[h], total);
  }
  KVASIR_UNROLL
  for (uint32_t n = 0; n < D / 8; ++n) {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) sums.values[n][i] *= factor[i / 2];
  }
}

template <uint32_t D>
KVASIR_DEVICE void add_weighed(const uint32_t (&p)[4][4], const uint8_t* values, PromptSums<D>& sums) {
  const uint32_t row = lane_id() % 8, matrix = lane_id() / 8;
  KVASIR_UNROLL
  for (uint32_t j = 0; j < 4; ++j) {
    const uint8_t* at = values + (16 * j + 8 * (matrix % 2) + row) * prompt_value_row(D);
    KVASIR_UNROLL
    for (uint32_t n = 0; n < D / 16; ++n) {
      uint32_t v[4];
      load_columns(v, at + ((2 * n + matrix / 2) ^ row) * 16);
      mma_halves(sums.values[2 * n], p[j], v[0], v[1]);
      mma_halves(sums.values[2 * n + 1], p[j], v[2], v[3]);
    }
  }
}

template <uint32_t D>
KVASIR_DEVICE void write_prompt(const PromptAttentionArgs& a, const PromptItems& items, const PromptSums<D>& sums) {
  KVASIR_UNROLL
  for (uint32_t h = 0; h < 2; ++h) {
    float total = sums.total[h], factor = 1.0F;
    total += shuffle_xor(total, 1);
    total += shuffle_xor(total, 2);
    if (a.sinks != nullptr) {
      const float sink = a.sinks[items.head[h]] * kLog2E, largest = fmaxf(sums.largest[h], sink);
      factor = power_of_two(sums.largest[h] - largest);
      total = fmaf(total, factor, power_of_two(sink - largest));
    }
    if (!items.there[h]) continue;
    factor /= total;
    float* y = a.y + items.row[h] * a.y_stride + items.head[h] * D + 2 * (lane_id() % 4);
    KVASIR_UNROLL
    for (uint32_t n = 0; n < D / 8; ++n) {
      y[8 * n] = sums.values[n][2 * h] * factor;
      y[8 * n + 1] = sums.values[n][2 * h + 1] * factor;
    }
  }
}

/// Grid: (tiles of all sequences with many rows, KV heads).
template <uint32_t D>
KVASIR_KERNEL(kPromptThreads, D <= 96 ? 3 : 2) prompt_attention_kernel(KVASIR_ARGS(PromptAttentionArgs) a) {
  begin_dependent();
  PromptTile tile;
  if (!find_prompt_tile(a, tile)) return;
  const uint32_t kv_head = block_y();
  uint8_t* const keys = dynamic_shared();
  uint8_t* const values = keys + prompt_key_bytes(D);
  const PromptItems items = prompt_items(a, tile, kv_head);
  // The slots of the block's first and last row bound what it looks at.
  const uint32_t last_item = tile.first_item + kPromptItems < tile.items ? tile.first_item + kPromptItems - 1 : tile.items - 1;
  const uint32_t own_first = a.step.slots[tile.first_row + tile.first_item / a.group], own_last = a.step.slots[tile.first_row + last_item / a.group];
  const uint32_t last_page = own_last / kPageRows, all_see = window_begin(own_last, a.window);
  uint32_t page = window_begin(own_first, a.window) / kPageRows;

  HeadPage head = page_of_slot(a.kv, tile.sequence, page * kPageRows, kv_head);
  fetch_keys<D>(a.kv.head, head, keys);
  PromptQueries<D> queries;
  queries.load(a, items, values + kPageRows * prompt_value_row(D));
  PromptSums<D> sums;
  KVASIR_UNROLL
  for (uint32_t h = 0; h < 2; ++h) {
    sums.largest[h] = as_float(0xFF7FFFFFU);  // the lowest finite: differences of two of them are zero, not NaN
    sums.total[h] = 0.0F;
  }
  KVASIR_UNROLL
  for (uint32_t n = 0; n < D / 8; ++n) {
    KVASIR_UNROLL
    for (uint32_t i = 0; i < 4; ++i) sums.values[n][i] = 0.0F;
  }
  for (; page <= last_page; ++page) {
    wait_pieces();
    sync_block();  // keys are there, and nobody reads the values before them any more
    fetch_values<D>(a.kv.head, head, values);
    float s[8][4];
    prompt_scores<D>(queries, keys, s);
    if (a.soft_cap > 0.0F) {
      KVASIR_UNROLL
      for (uint32_t n = 0; n < 8; ++n) {
        KVASIR_UNROLL
        for (uint32_t i = 0; i < 4; ++i) s[n][i] = a.soft_cap * kLog2E * tanhf(s[n][i] / a.soft_cap);
      }
    }
    if (page * kPageRows + kPageRows - 1 > own_first || page * kPageRows < all_see) hide_scores(items, a.window, page, s);
    wait_pieces();
    sync_block();
    if (page < last_page) {
      head = page_of_slot(a.kv, tile.sequence, (page + 1) * kPageRows, kv_head);
      fetch_keys<D>(a.kv.head, head, keys);
    }
    uint32_t p[4][4];
    prompt_weights<D>(s, sums, p);
    add_weighed<D>(p, values, sums);
  }
  write_prompt<D>(a, items, sums);
}

}  // namespace kvasir::cuda
