// --quantize: float matrices become 8- or 4-bit blocks, or bf16, while they are loaded. A ModelFile whose table says the new
// types and whose sources quantise what is read, so that everything behind it sees an ordinary quantised file. Which
// tensors change is llama-quantize's choice (core/model/README.md). Thread-safe, as the file it wraps.
#pragma once

#include <memory>
#include <span>

#include "core/model/model.h"
#include "core/model/model_file.h"

namespace kvasir {

/// One row of whole blocks of 32 as ggml's reference quantisers round them: Q8_0 by nearest (halves away from zero) of
/// x * (127 / largest), Q4_0 by the signed largest value at -8. False if a value is not finite, or too large for the
/// block's half-precision scale. `type` is kQ8_0, kQ4_0 or kBF16 (single values, to nearest, ties to even).
bool quantise_blocks(TensorType type, std::span<const float> values, std::span<std::byte> blocks) noexcept;

/// What `file` becomes. Tensors that cannot (rows of no whole blocks) stay and are named in `note` (empty where nothing
/// was to be changed: the file is quantised already).
struct QuantisedFile {
  std::unique_ptr<ModelFile> file;
  std::string note;
};
QuantisedFile quantise_on_load(std::unique_ptr<ModelFile> file, QuantizeOnLoad how);

}  // namespace kvasir
