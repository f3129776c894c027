#include "backends/cuda/kernels/prompt_attention.cuh"

#include "backends/cuda/kernels/kernel_entry.h"

namespace kvasir::cuda {

void list_prompt_kernels(KernelTable& table) {
  table[prompt_kernel_id(0)] = KVASIR_ENTRY(PromptAttentionArgs, prompt_attention_kernel<64>);
  table[prompt_kernel_id(1)] = KVASIR_ENTRY(PromptAttentionArgs, prompt_attention_kernel<80>);
  table[prompt_kernel_id(2)] = KVASIR_ENTRY(PromptAttentionArgs, prompt_attention_kernel<96>);
  table[prompt_kernel_id(3)] = KVASIR_ENTRY(PromptAttentionArgs, prompt_attention_kernel<128>);
  table[prompt_kernel_id(4)] = KVASIR_ENTRY(PromptAttentionArgs, prompt_attention_kernel<256>);
}

}  // namespace kvasir::cuda
