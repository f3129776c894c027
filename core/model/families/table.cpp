#include <array>

#include "core/model/families/family.h"
#include "core/model/file_source.h"

namespace kvasir {
namespace {

constexpr std::array kFamilies = {
    Family{"llama", read_llama},
};

}  // namespace

std::span<const Family> families() noexcept { return kFamilies; }

Result<const Family*> find_family(std::string_view architecture) {
  std::string known;
  for (const Family& family : kFamilies) {
    if (family.architecture == architecture) return &family;
    known += (known.empty() ? "" : ", ") + std::string(family.architecture);
  }
  return Failure(Code::kUnsupported, "architecture \"" + printable(architecture) + "\" is not supported; supported are: " + known);
}

Result<ModelConfig> read_model_config(const ModelFile& file, const ModelLimits& limits) {
  const auto name = KVASIR_TRY(file.metadata().string("general.architecture"));
  if (!name || name->empty()) return Failure(Code::kCorrupt, "metadata general.architecture is missing");
  const Family* family = KVASIR_TRY(find_family(*name));
  ConfigReader reader(file, limits, std::string(*name));
  return family->read(reader);
}

}  // namespace kvasir
