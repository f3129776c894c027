// Tensors whose rows, columns or values lie otherwise in a Hugging Face folder than the layers expect them.
#include <cmath>
#include <cstring>

#include "core/model/hf/tensor_map.h"

namespace kvasir {
namespace {

std::string block_name(uint64_t layer, std::string_view name) {
  return "blk." + std::to_string(layer) + "." + std::string(name);
}

/// [rows, cols] to [cols, rows].
std::vector<float> transposed(const std::vector<float>& in, uint64_t rows, uint64_t cols) {
  std::vector<float> out(in.size());
  for (uint64_t r = 0; r < rows; ++r) {
    for (uint64_t c = 0; c < cols; ++c) out[c * rows + r] = in[r * cols + c];
  }
  return out;
}

Result<void> check_shape(const SafeTensor& t, const std::vector<uint64_t>& shape) {
  if (t.shape == shape) return {};
  return Failure(Code::kCorrupt, "tensor " + printable(t.name) + " has another shape than config.json says");
}

/// Groups of heads laid out [q.., k, v] per group become all q, all k, all v.
std::vector<RowRange> regroup(uint64_t groups, uint64_t queries, uint64_t head_dim) {
  std::vector<RowRange> rows;
  const uint64_t group = (queries + 2) * head_dim;
  for (uint64_t g = 0; g < groups; ++g) rows.push_back({g * group, queries * head_dim});
  for (uint64_t g = 0; g < groups; ++g) rows.push_back({g * group + queries * head_dim, head_dim});
  for (uint64_t g = 0; g < groups; ++g) rows.push_back({g * group + (queries + 1) * head_dim, head_dim});
  return rows;
}

Result<void> add_regrouped(TensorBuilder& b, const FolderShape& s, const std::string& from, const std::string& to,
                           uint64_t groups, uint64_t queries) {
  const uint64_t out_rows = groups * (queries + 2) * s.head_dim;
  const auto rows = regroup(groups, queries, s.head_dim);
  if (const SafeTensor* weight = b.take(from + ".weight")) {
    KVASIR_TRY(check_shape(*weight, {out_rows, s.width}));
    KVASIR_TRY(b.add_rows(to + ".weight", *weight, rows, {s.width, out_rows}));
  }
  if (const SafeTensor* bias = b.take(from + ".bias")) {
    KVASIR_TRY(check_shape(*bias, {out_rows}));
    KVASIR_TRY(b.add_rows(to + ".bias", *bias, rows, {out_rows}));
  }
  return {};
}

/// Value heads in the order "head h uses key head h % key_heads" instead of h / (value_heads / key_heads).
std::vector<uint64_t> tiled_heads(const FolderShape& s) {
  const uint64_t per_key = s.value_heads / s.key_heads;
  std::vector<uint64_t> order;
  for (uint64_t i = 0; i < per_key; ++i) {
    for (uint64_t k = 0; k < s.key_heads; ++k) order.push_back(k * per_key + i);
  }
  return order;
}

std::vector<RowRange> head_rows(const std::vector<uint64_t>& order, uint64_t rows_per_head, uint64_t first = 0) {
  std::vector<RowRange> rows;
  for (const uint64_t head : order) rows.push_back({first + head * rows_per_head, rows_per_head});
  return rows;
}

Result<void> add_negative_exp(TensorBuilder& b, const std::string& name, const SafeTensor& a_log,
                              std::vector<uint64_t> dims, std::vector<uint64_t> order) {
  if (!order.empty() && a_log.values() != order.size()) {
    return Failure(Code::kCorrupt, "tensor " + printable(a_log.name) + " has another size than config.json says");
  }
  return b.add_made(name, a_log, std::move(dims), [order = std::move(order)](std::vector<float> values) {
    std::vector<float> out(values.size());
    for (size_t i = 0; i < values.size(); ++i) out[i] = -std::exp(values[order.empty() ? i : order[i]]);
    return out;
  });
}

/// Columns of W[rows, heads * size] in another order of heads.
Result<void> add_column_heads(TensorBuilder& b, const std::string& name, const SafeTensor& w,
                              std::vector<uint64_t> order, uint64_t size) {
  const uint64_t rows = w.shape[0], cols = w.shape[1];
  return b.add_made(name, w, {cols, rows}, [order = std::move(order), rows, cols, size](std::vector<float> in) {
    std::vector<float> out(in.size());
    for (uint64_t r = 0; r < rows; ++r) {
      for (size_t h = 0; h < order.size(); ++h) {
        std::memcpy(&out[r * cols + h * size], &in[r * cols + order[h] * size], size * sizeof(float));
      }
    }
    return out;
  });
}

/// qwen3-next: one projection grouped by key head [q, k, v.., z..] becomes attn_qkv (all q, all k, all v) and
/// attn_gate.
Result<void> add_grouped_qkvz(TensorBuilder& b, const FolderShape& s, const SafeTensor& w, uint64_t layer) {
  const uint64_t per_key = s.value_heads / s.key_heads;
  const uint64_t values = per_key * s.value_dim;
  const uint64_t group = 2 * s.key_dim + 2 * values;
  KVASIR_TRY(check_shape(w, {s.key_heads * group, s.width}));
  std::vector<RowRange> qkv, gate;
  for (uint64_t k = 0; k < s.key_heads; ++k) qkv.push_back({k * group, s.key_dim});
  for (uint64_t k = 0; k < s.key_heads; ++k) qkv.push_back({k * group + s.key_dim, s.key_dim});
  for (uint64_t k = 0; k < s.key_heads; ++k) qkv.push_back({k * group + 2 * s.key_dim, values});
  for (uint64_t k = 0; k < s.key_heads; ++k) gate.push_back({k * group + 2 * s.key_dim + values, values});
  const uint64_t all_values = s.key_heads * values;
  KVASIR_TRY(
      b.add_rows(block_name(layer, "attn_qkv.weight"), w, qkv, {s.width, 2 * s.key_heads * s.key_dim + all_values}));
  return b.add_rows(block_name(layer, "attn_gate.weight"), w, gate, {s.width, all_values});
}

/// MXFP4 as published: per row and block of 32, 16 bytes of neighbouring pairs, and one exponent byte elsewhere. ggml:
/// the exponent, then 16 bytes that hold value i and value i + 16.
void repack_mxfp4(const std::byte* blocks, std::byte scale, std::byte* out) {
  out[0] = scale;
  for (size_t i = 0; i < 16; ++i) {
    const auto nibble = [blocks](size_t value) {
      const auto pair = std::to_integer<unsigned>(blocks[value / 2]);
      return value % 2 == 0 ? pair & 15U : pair >> 4;
    };
    out[1 + i] = static_cast<std::byte>(nibble(i) | (nibble(i + 16) << 4));
  }
}

/// Rows `first`, `first + step`, ... of each expert of a published MXFP4 tensor, as ggml blocks.
Result<void> add_mxfp4(TensorBuilder& b, const std::string& name, const SafeTensor& blocks, const SafeTensor& scales,
                       uint64_t first, uint64_t step) {
  constexpr uint64_t kBlockBytes = 17;
  if (blocks.shape.size() != 4 || blocks.shape[3] != 16 || scales.values() * 16 != blocks.values() ||
      blocks.type != SafeType::kU8 || scales.type != SafeType::kU8) {
    return Failure(Code::kCorrupt, "tensor " + printable(blocks.name) + " is no MXFP4 tensor");
  }
  const uint64_t experts = blocks.shape[0], rows = blocks.shape[1], per_row = blocks.shape[2];
  const uint64_t out_rows = rows / step;
  return b.add_blocks(name, TensorType::kMXFP4, {per_row * 32, out_rows, experts},
                      [=]() -> Result<std::vector<std::byte>> {
                        std::vector<std::byte> codes(blocks.bytes), exponents(scales.bytes);
                        KVASIR_TRY(blocks.source->read(blocks.offset, codes));
                        KVASIR_TRY(scales.source->read(scales.offset, exponents));
                        std::vector<std::byte> out(experts * out_rows * per_row * kBlockBytes);
                        size_t at = 0;
                        for (uint64_t e = 0; e < experts; ++e) {
                          for (uint64_t r = 0; r < out_rows; ++r) {
                            for (uint64_t k = 0; k < per_row; ++k, ++at) {
                              const uint64_t from = (e * rows + first + r * step) * per_row + k;
                              repack_mxfp4(&codes[from * 16], exponents[from], &out[at * kBlockBytes]);
                            }
                          }
                        }
                        return out;
                      });
}

}  // namespace

Result<void> map_falcon_qkv(TensorBuilder& b, const FolderShape& s, uint64_t layer) {
  return add_regrouped(b, s, "transformer.h." + std::to_string(layer) + ".self_attention.query_key_value",
                       block_name(layer, "attn_qkv"), s.kv_heads, s.heads / s.kv_heads);
}

Result<void> map_neox_qkv(TensorBuilder& b, const FolderShape& s, uint64_t layer) {
  return add_regrouped(b, s, "gpt_neox.layers." + std::to_string(layer) + ".attention.query_key_value",
                       block_name(layer, "attn_qkv"), s.heads, 1);
}

Result<void> map_gpt2_layer(TensorBuilder& b, const FolderShape&, uint64_t layer) {
  struct Part {
    std::string_view hf, gguf;
    bool matrix;
  };
  constexpr Part kParts[] = {{"ln_1", "attn_norm", false},      {"ln_2", "ffn_norm", false},
                             {"attn.c_attn", "attn_qkv", true}, {"attn.c_proj", "attn_output", true},
                             {"mlp.c_fc", "ffn_up", true},      {"mlp.c_proj", "ffn_down", true}};
  for (const Part& part : kParts) {
    const std::string from = "h." + std::to_string(layer) + "." + std::string(part.hf);
    const std::string to = block_name(layer, part.gguf);
    const SafeTensor* w = KVASIR_TRY(b.require(from + ".weight"));
    if (part.matrix) {
      // Conv1D stores [in, out].
      if (w->shape.size() != 2) return Failure(Code::kCorrupt, "tensor " + printable(w->name) + " is no matrix");
      const uint64_t in = w->shape[0], out = w->shape[1];
      KVASIR_TRY(b.add_made(to + ".weight", *w, {in, out},
                            [in, out](std::vector<float> v) { return transposed(v, in, out); }));
    } else {
      KVASIR_TRY(b.add(to + ".weight", *w));
    }
    if (const SafeTensor* bias = b.take(from + ".bias")) KVASIR_TRY(b.add(to + ".bias", *bias));
  }
  return {};
}

Result<void> map_mla(TensorBuilder& b, const FolderShape& s, uint64_t layer) {
  const std::string attention = "model.layers." + std::to_string(layer) + ".self_attn.";
  if (const SafeTensor* q = b.take(attention + "q_proj.weight"))
    KVASIR_TRY(b.add(block_name(layer, "attn_q.weight"), *q));
  const SafeTensor* kv = KVASIR_TRY(b.require(attention + "kv_b_proj.weight"));
  const uint64_t per_head = s.no_rope_dims + s.v_dim;
  KVASIR_TRY(check_shape(*kv, {s.heads * per_head, s.latent}));
  std::vector<RowRange> values;
  for (uint64_t h = 0; h < s.heads; ++h) values.push_back({h * per_head + s.no_rope_dims, s.v_dim});
  KVASIR_TRY(b.add_rows(block_name(layer, "attn_v_b.weight"), *kv, values, {s.latent, s.v_dim, s.heads}));
  // Keys are absorbed into the query: per head the transpose, [latent, no_rope].
  return b.add_made(block_name(layer, "attn_k_b.weight"), *kv, {s.no_rope_dims, s.latent, s.heads},
                    [s, per_head](std::vector<float> in) {
                      std::vector<float> out(s.heads * s.latent * s.no_rope_dims);
                      for (uint64_t h = 0; h < s.heads; ++h) {
                        for (uint64_t d = 0; d < s.no_rope_dims; ++d) {
                          for (uint64_t l = 0; l < s.latent; ++l) {
                            out[(h * s.latent + l) * s.no_rope_dims + d] = in[(h * per_head + d) * s.latent + l];
                          }
                        }
                      }
                      return out;
                    });
}

Result<void> map_gpt_oss_experts(TensorBuilder& b, const FolderShape&, uint64_t layer) {
  const std::string experts = "model.layers." + std::to_string(layer) + ".mlp.experts.";
  struct Part {
    std::string_view hf, gguf;
    uint64_t first, step;  // gate and up alternate
  };
  constexpr Part kParts[] = {{"gate_up_proj", "ffn_gate_exps", 0, 2},
                             {"gate_up_proj", "ffn_up_exps", 1, 2},
                             {"down_proj", "ffn_down_exps", 0, 1}};
  for (const Part& part : kParts) {
    const std::string from = experts + std::string(part.hf), to = block_name(layer, part.gguf);
    if (const SafeTensor* blocks = b.take(from + "_blocks")) {
      const SafeTensor* scales = KVASIR_TRY(b.require(from + "_scales"));
      KVASIR_TRY(add_mxfp4(b, to + ".weight", *blocks, *scales, part.first, part.step));
    } else {
      const SafeTensor* w = KVASIR_TRY(b.require(from));
      if (w->shape.size() != 3)
        return Failure(Code::kCorrupt, "tensor " + printable(w->name) + " has not three dimensions");
      const uint64_t e = w->shape[0], in = w->shape[1], all = w->shape[2], out = all / part.step;
      KVASIR_TRY(b.add_made(to + ".weight", *w, {in, out, e}, [=](std::vector<float> v) {
        std::vector<float> made(e * out * in);
        for (uint64_t x = 0; x < e; ++x) {
          for (uint64_t i = 0; i < in; ++i) {
            for (uint64_t o = 0; o < out; ++o)
              made[(x * out + o) * in + i] = v[(x * in + i) * all + part.first + o * part.step];
          }
        }
        return made;
      }));
    }
    const SafeTensor* bias = KVASIR_TRY(b.require(from + "_bias"));
    if (bias->shape.size() != 2) return Failure(Code::kCorrupt, "tensor " + printable(bias->name) + " is no matrix");
    const uint64_t e = bias->shape[0], all = bias->shape[1], out = all / part.step;
    KVASIR_TRY(b.add_made(to + ".bias", *bias, {out, e}, [=](std::vector<float> v) {
      std::vector<float> made(e * out);
      for (uint64_t x = 0; x < e; ++x) {
        for (uint64_t o = 0; o < out; ++o) made[x * out + o] = v[x * all + part.first + o * part.step];
      }
      return made;
    }));
  }
  return {};
}

Result<void> map_delta_net(TensorBuilder& b, const FolderShape& s, uint64_t layer) {
  const std::string from = "model.layers." + std::to_string(layer) + ".linear_attn.";
  const SafeTensor* a_log = b.take(from + "A_log");
  if (a_log == nullptr) return {};  // a layer with full attention
  const bool tiled = s.model_type == "qwen3_5_text";
  const std::vector<uint64_t> order = tiled ? tiled_heads(s) : std::vector<uint64_t>();
  const uint64_t keys = s.key_heads * s.key_dim, values = s.value_heads * s.value_dim;
  KVASIR_TRY(add_negative_exp(b, block_name(layer, "ssm_a"), *a_log, {s.value_heads}, order));
  const SafeTensor* dt = KVASIR_TRY(b.require(from + "dt_bias"));
  const SafeTensor* taps = KVASIR_TRY(b.require(from + "conv1d.weight"));
  const SafeTensor* out = KVASIR_TRY(b.require(from + "out_proj.weight"));
  KVASIR_TRY(b.add_from(block_name(layer, "ssm_norm.weight"), from + "norm.weight"));
  KVASIR_TRY(check_shape(*out, {s.width, values}));
  if (taps->shape.size() != 3 || taps->shape[0] != 2 * keys + values) {
    return Failure(Code::kCorrupt, "tensor " + printable(taps->name) + " has another shape than config.json says");
  }
  const std::vector<uint64_t> tap_dims = {taps->shape[2], taps->shape[0]};
  if (!tiled) {
    KVASIR_TRY(b.add(block_name(layer, "ssm_dt.bias"), *dt));
    KVASIR_TRY(b.add_shaped(block_name(layer, "ssm_conv1d.weight"), *taps, tap_dims));
    KVASIR_TRY(b.add(block_name(layer, "ssm_out.weight"), *out));
    KVASIR_TRY(b.add_from(block_name(layer, "ssm_ba.weight"), from + "in_proj_ba.weight"));
    const SafeTensor* grouped = KVASIR_TRY(b.require(from + "in_proj_qkvz.weight"));
    return add_grouped_qkvz(b, s, *grouped, layer);
  }
  auto value_rows = head_rows(order, s.value_dim, 2 * keys);
  value_rows.insert(value_rows.begin(), RowRange{0, 2 * keys});
  KVASIR_TRY(b.add_rows(block_name(layer, "ssm_dt.bias"), *dt, head_rows(order, 1), {s.value_heads}));
  KVASIR_TRY(b.add_rows(block_name(layer, "ssm_conv1d.weight"), *taps, value_rows, tap_dims));
  KVASIR_TRY(b.add_rows_from(block_name(layer, "attn_qkv.weight"), from + "in_proj_qkv.weight", value_rows,
                             {s.width, 2 * keys + values}));
  KVASIR_TRY(b.add_rows_from(block_name(layer, "attn_gate.weight"), from + "in_proj_z.weight",
                             head_rows(order, s.value_dim), {s.width, values}));
  KVASIR_TRY(b.add_rows_from(block_name(layer, "ssm_alpha.weight"), from + "in_proj_a.weight", head_rows(order, 1),
                             {s.width, s.value_heads}));
  KVASIR_TRY(b.add_rows_from(block_name(layer, "ssm_beta.weight"), from + "in_proj_b.weight", head_rows(order, 1),
                             {s.width, s.value_heads}));
  return add_column_heads(b, block_name(layer, "ssm_out.weight"), *out, order, s.value_dim);
}

Result<void> map_mamba2(TensorBuilder& b, const FolderShape& s, uint64_t layer) {
  const std::string block = "backbone.layers." + std::to_string(layer) + ".", from = block + "mixer.";
  KVASIR_TRY(b.add_from(block_name(layer, "attn_norm.weight"), block + "norm.weight"));
  KVASIR_TRY(b.add_from(block_name(layer, "ssm_in.weight"), from + "in_proj.weight"));
  KVASIR_TRY(b.add_from(block_name(layer, "ssm_out.weight"), from + "out_proj.weight"));
  const SafeTensor* taps = KVASIR_TRY(b.require(from + "conv1d.weight"));
  if (taps->shape.size() != 3)
    return Failure(Code::kCorrupt, "tensor " + printable(taps->name) + " has not three dimensions");
  KVASIR_TRY(b.add_shaped(block_name(layer, "ssm_conv1d.weight"), *taps, {taps->shape[2], taps->shape[0]}));
  if (const SafeTensor* bias = b.take(from + "conv1d.bias"))
    KVASIR_TRY(b.add(block_name(layer, "ssm_conv1d.bias"), *bias));
  const SafeTensor* a_log = KVASIR_TRY(b.require(from + "A_log"));
  const uint64_t heads = a_log->values();
  KVASIR_TRY(add_negative_exp(b, block_name(layer, "ssm_a"), *a_log, {1, heads}, {}));
  const SafeTensor* d = KVASIR_TRY(b.require(from + "D"));
  KVASIR_TRY(b.add_shaped(block_name(layer, "ssm_d"), *d, {1, heads}));
  KVASIR_TRY(b.add_from(block_name(layer, "ssm_dt.bias"), from + "dt_bias"));
  const SafeTensor* norm = KVASIR_TRY(b.require(from + "norm.weight"));
  const uint64_t groups = s.key_heads == 0 ? 1 : s.key_heads;
  return b.add_shaped(block_name(layer, "ssm_norm.weight"), *norm, {norm->values() / groups, groups});
}

}  // namespace kvasir
