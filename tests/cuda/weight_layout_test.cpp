// How weights and KV pages lie on the device: every type decodes to the reference decoder's bits, tiles keep the file's
// size, pages have the CPU's bytes.
#include <catch2/catch.hpp>

#include <numeric>

#include <cstring>
#include <numeric>

#include "backends/cpu/format.h"
#include "backends/registry.h"
#include "tests/cuda/emulated_lab.h"

using namespace kvasir;
using namespace kvasir::test;

namespace {

std::vector<float> rows_of(Lab& lab, const Weight& table) {
  std::vector<TokenId> ids(table.rows());
  std::iota(ids.begin(), ids.end(), 0);
  return lab.run(static_cast<uint32_t>(ids.size()), [&](Lab& l) {
    const Mat y = l.stream().alloc(static_cast<uint32_t>(ids.size()), static_cast<uint32_t>(table.cols()));
    l.stream().embed(y, table, ids, 1.0F);
    l.output(y);
  })[0];
}

}  // namespace

TEST_CASE("every type, in tiles and as blocks, decodes to the bits of the reference", "[cuda]") {
  Lab lab(open_emulated());
  for (const TensorType type : kPackedTypes) {
    const uint32_t block = tensor_type_info(type)->block_values;
    for (const uint32_t blocks : {1U, 3U, 9U, 11U}) {
      for (const WeightUse use : {WeightUse::kTable, WeightUse::kTableAndMatrix}) {
        const uint32_t cols = block == 1 ? 17 * blocks : block * blocks;
        for (const uint32_t rows : {1U, 19U}) {
          CAPTURE(tensor_type_info(type)->name, cols, rows, static_cast<int>(use));
          const auto got = rows_of(lab, lab.weight(type, rows, cols, 9, use));
          const auto want = decoded_tensor(type, rows, cols, 9);
          REQUIRE(got.size() == want.size());
          CHECK(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("tiles take no more memory than the file, but for rows that fill the last one", "[cuda]") {
  for (const TensorType type : kPackedTypes) {
    const TensorTypeInfo* info = tensor_type_info(type);
    HostTensor tensor{.name = "t", .type = type, .rows = 64, .cols = 512};
    const uint64_t file = tensor.rows * tensor.cols / info->block_values * info->block_bytes;
    const auto bytes = cuda::device_bytes_of(tensor, WeightUse::kMatrix);
    REQUIRE(bytes);
    CAPTURE(info->name);
    if (type == TensorType::kQ5_0) CHECK(*bytes == file / 22 * 34);  // held as Q8_0
    else CHECK(*bytes == (file + 255) / 256 * 256);
  }
}

TEST_CASE("a page has the same layout and the same bytes as the CPU's", "[cuda]") {
  for (const KvType type : {KvType::kF16, KvType::kQ8_0, KvType::kF32}) {
    for (const auto& [k_dim, v_dim] : {std::pair{64U, 64U}, {40U, 24U}, {128U, 128U}, {48U, 0U}}) {
      CAPTURE(static_cast<int>(type), k_dim, v_dim);
      const cuda::KvHeadView mine = cuda::kv_head_view(type, k_dim, v_dim);
      const cpu::KvHeadLayout theirs = cpu::kv_head_layout(type, k_dim, v_dim);
      CHECK(mine.k_scales == theirs.k_scales);
      CHECK(mine.v == theirs.v);
      CHECK(mine.v_scales == theirs.v_scales);
      CHECK(mine.head_bytes == theirs.head_bytes);
      CHECK(mine.v_stride == theirs.v_stride);
      CHECK(mine.aged_k_scales == theirs.aged_k_scales);
      CHECK(mine.aged_k_leasts == theirs.aged_k_leasts);
      CHECK(mine.aged_v == theirs.aged_v);
      CHECK(mine.aged_v_scales == theirs.aged_v_scales);
      CHECK(mine.aged_v_leasts == theirs.aged_v_leasts);
      CHECK(mine.aged_bytes == theirs.aged_bytes);

      const KvPoolSpec spec{.type = type, .layers = {{0, 2, k_dim, v_dim}, {0, 3, k_dim, v_dim}}, .group_pages = {3}, .state_floats = {}, .state_slots = 0};
      const StepLayout layout = layout_of({64, 64}, {0, 0});
      std::vector<std::vector<std::byte>> pages;
      for (const bool emulated : {true, false}) {
        Lab lab(emulated ? open_emulated() : *make_cpu_backend("cpu-scalar", {}));
        lab.make_pool(spec);
        lab.run(layout, [&](Lab& l) {
          for (uint32_t layer = 0; layer < 2; ++layer) {
            const uint32_t heads = spec.layers[layer].n_kv_heads;
            const Mat v = v_dim == 0 ? Mat{} : l.input(128, heads * v_dim, 2 + layer);
            l.stream().store_kv(layer, l.input(128, heads * k_dim, 7 + layer), v);
          }
        });
        CHECK(lab.pool().abilities().aged_per_page == (type == KvType::kQ8_0 ? 1 : type == KvType::kF16 ? 3 : 6));
        if (lab.pool().abilities().aged_per_page >= 2) {  // page 1 becomes part 1 of page 2; whoever aged it
          std::vector<uint32_t> rows(kPageTokens);
          std::iota(rows.begin(), rows.end(), 0U);
          const PageId to[] = {aged_page(2, 1)};
          for (uint32_t l = 0; l < 2; ++l) REQUIRE(lab.pool().gather({.kv_layer = l, .from = layout.sequences[1].pages[0], .rows = rows, .to = to, .turns = {}}));
          pages.emplace_back(lab.pool().page_bytes(0));
          REQUIRE(lab.pool().export_page(0, 2, pages.back()));
        }
        pages.emplace_back(lab.pool().page_bytes(0));
        // What no row covers (rounding of v, space between parts) keeps what was there: bring a known page in first.
        REQUIRE(lab.pool().export_page(0, layout.sequences[1].pages[0][0], pages.back()));
      }
      for (size_t i = 0; i < pages.size() / 2; ++i) CHECK(pages[i] == pages[pages.size() / 2 + i]);
    }
  }
}
