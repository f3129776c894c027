#include "core/model/model_file.h"

#include <filesystem>

#include "backends/reference/dequantise.h"
#include "core/model/file_source.h"
#include "core/model/gguf_file.h"
#include "core/model/hf/hf_folder.h"

namespace kvasir {

Result<std::unique_ptr<ModelFile>> ModelFile::open(const std::string& path, const ModelLimits& limits) {
  if (is_hf_folder(path)) return open_hf_folder(path, limits);
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec)) return open_gguf(KVASIR_TRY(gguf_in_folder(path)), limits);
  return open_gguf(path, limits);
}

Result<std::vector<float>> read_values(const FileTensor& tensor) {
  constexpr uint64_t kMaxValues = 1u << 20;
  if (tensor.values() > kMaxValues)
    return Failure(Code::kTooLarge, "tensor " + printable(tensor.name) + " is too large here");
  std::vector<std::byte> bytes(tensor.bytes);
  KVASIR_TRY(tensor.source->read(tensor.offset, bytes));
  std::vector<float> values(tensor.values());
  dequantise(tensor.type, bytes, values);
  return values;
}

}  // namespace kvasir
