// Writes GGUF files for tests: any metadata, any tensors, whole or as one part of a split model. Throws on nothing;
// what it is given is taken as it is, so hostile files can be made too.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/model/model_file.h"

namespace kvasir::test {

class GgufWriter {
 public:
  GgufWriter& number(std::string_view key, uint32_t value);
  GgufWriter& number16(std::string_view key, uint16_t value);
  GgufWriter& signed_number(std::string_view key, int32_t value);
  GgufWriter& real(std::string_view key, float value);
  GgufWriter& flag(std::string_view key, bool value);
  GgufWriter& text(std::string_view key, std::string_view value);
  GgufWriter& texts(std::string_view key, const std::vector<std::string>& values);
  GgufWriter& reals(std::string_view key, const std::vector<float>& values);
  GgufWriter& signed_numbers(std::string_view key, const std::vector<int32_t>& values);
  /// All keys of another file but those that begin with `without`.
  GgufWriter& copy(const Metadata& metadata, std::string_view without = "split.");
  GgufWriter& tensor(std::string name, TensorType type, std::vector<uint64_t> dims, std::string bytes);
  /// A tensor of another file with its bytes.
  GgufWriter& tensor(const FileTensor& from);

  std::string bytes() const;
  void write(const std::filesystem::path& path) const;

 private:
  struct Tensor {
    std::string name;
    TensorType type;
    std::vector<uint64_t> dims;
    std::string bytes;
  };
  GgufWriter& value(std::string_view key, const MetaValue& value);

  uint64_t keys_ = 0;
  std::string metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace kvasir::test
