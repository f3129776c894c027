#include <array>

#include "core/model/families/family.h"
#include "core/model/file_source.h"

namespace kvasir {
namespace {

constexpr std::array kFamilies = {
    Family{"cohere2", read_cohere2},
    Family{"command-r", read_command_r},
    Family{"deepseek2", read_deepseek2},
    Family{"falcon", read_falcon},
    Family{"gemma", read_gemma},
    Family{"gemma2", read_gemma2},
    Family{"gemma3", read_gemma3},
    Family{"gemma4", read_gemma4},
    Family{"glm4", read_glm4},
    Family{"gpt-oss", read_gpt_oss},
    Family{"gpt2", read_gpt2},
    Family{"gptneox", read_gpt_neox},
    Family{"granite", read_granite},
    Family{"lfm2", read_lfm2},
    Family{"llama", read_llama},
    Family{"mamba2", read_mamba2},
    Family{"olmo2", read_olmo2},
    Family{"phi2", read_phi2},
    Family{"phi3", read_phi3},
    Family{"qwen2", read_qwen2},
    Family{"qwen2moe", read_qwen2_moe},
    Family{"qwen3", read_qwen3},
    Family{"qwen35", read_qwen35},
    Family{"qwen3moe", read_qwen3_moe},
    Family{"qwen3next", read_qwen3_next},
    Family{"smollm3", read_smollm3},
    Family{"stablelm", read_stablelm},
    Family{"starcoder2", read_starcoder2},
};

}  // namespace

std::span<const Family> families() noexcept {
  return kFamilies;
}

Result<const Family*> find_family(std::string_view architecture) {
  std::string known;
  for (const Family& family : kFamilies) {
    if (family.architecture == architecture) return &family;
    known += (known.empty() ? "" : ", ") + std::string(family.architecture);
  }
  return Failure(Code::kUnsupported,
                 "architecture \"" + printable(architecture) + "\" is not supported; supported are: " + known);
}

Result<ModelConfig> read_model_config(const ModelFile& file, const ModelLimits& limits) {
  const auto name = KVASIR_TRY(file.metadata().string("general.architecture"));
  if (!name || name->empty()) return Failure(Code::kCorrupt, "metadata general.architecture is missing");
  const Family* family = KVASIR_TRY(find_family(*name));
  ConfigReader reader(file, limits, std::string(*name));
  return family->read(reader);
}

}  // namespace kvasir
