#include <new>

#include "backends/registry.h"
#include "backends/reference/reference_stream.h"
#include "backends/reference/reference_weight.h"
#include "core/base/bytes.h"

namespace kvasir {
namespace reference {
namespace {

class ReferenceBackend final : public Backend {
 public:
  ReferenceBackend() {
    info_.name = "reference";
    info_.isa_or_device = "portable";
    info_.reason = "asked for by name; naive loops, for verification only";
  }

  const BackendInfo& info() const noexcept override { return info_; }

  Result<std::unique_ptr<Weight>> upload(const HostTensor& tensor, WeightUse use) override {
    const TensorTypeInfo* type = tensor_type_info(tensor.type);
    if (type == nullptr) return Failure(Code::kUnsupported, "tensor " + tensor.name + ": unknown type");
    if (tensor.source == nullptr || tensor.cols == 0 || tensor.cols % type->block_values != 0) {
      return Failure(Code::kInternal, "tensor " + tensor.name + ": not rows of whole blocks");
    }
    const uint64_t row_bytes = tensor.cols / type->block_values * type->block_bytes;
    const auto rows = checked_mul(tensor.experts, tensor.rows);
    const auto bytes = rows ? checked_mul(*rows, row_bytes) : std::nullopt;
    if (!bytes) return Failure(Code::kTooLarge, "tensor " + tensor.name + ": size overflows");
    try {
      std::vector<std::byte> data(*bytes);
      KVASIR_TRY(tensor.source->read(tensor.offset, data));
      std::vector<float> vector;
      if (use == WeightUse::kVector) {
        vector.resize(*rows * tensor.cols);
        dequantise(tensor.type, data, vector);
        for (float& v : vector) v += tensor.add;
        data = {};
      }
      return std::unique_ptr<Weight>(
          std::make_unique<ReferenceWeight>(tensor, row_bytes, std::move(data), std::move(vector)));
    } catch (const std::bad_alloc&) {
      return Failure(Code::kTooLarge, "tensor " + tensor.name + ": not enough memory");
    }
  }

  Result<std::unique_ptr<KvPool>> create_kv_pool(const KvPoolSpec& spec) override {
    return ReferenceKvPool::create(spec);
  }

  Result<std::unique_ptr<Stream>> open_stream(const StreamLimits&) override {
    return std::unique_ptr<Stream>(std::make_unique<ReferenceStream>());
  }

 private:
  BackendInfo info_;
};

}  // namespace
}  // namespace reference

std::unique_ptr<Backend> make_reference_backend(const BackendOptions&) {
  return std::make_unique<reference::ReferenceBackend>();
}

}  // namespace kvasir
