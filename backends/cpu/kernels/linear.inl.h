// The table's `linear` and `decode_row`: format to kernel.
#pragma once

namespace kvasir::cpu::KVASIR_ISA {
namespace {

using LinearFunction = void (*)(const LinearArgs&, uint32_t, uint32_t, uint32_t, uint32_t);
using DecodeFunction = void (*)(const uint8_t*, uint32_t, uint32_t, float*);

struct FormatKernels {
  LinearFunction quantised, exact;
  DecodeFunction decode_row;
};

// In the order of Format.
constexpr FormatKernels kFormatKernels[kFormatCount] = {
    {nullptr, linear_float_direct<WeightF32>, decode_row_float<WeightF32>},
    {nullptr, linear_float_direct<WeightF16>, decode_row_float<WeightF16>},
    {nullptr, linear_float_direct<WeightBF16>, decode_row_float<WeightBF16>},
    {linear_int_direct<Q4_0>, linear_int_as_float<Q4_0>, decode_row_int<Q4_0>},
    {linear_int_direct<Q4_1>, linear_int_as_float<Q4_1>, decode_row_int<Q4_1>},
    {linear_int_expanded<Q5_0>, linear_int_as_float<Q5_0>, decode_row_int<Q5_0>},
    {linear_int_expanded<Q5_1>, linear_int_as_float<Q5_1>, decode_row_int<Q5_1>},
    {linear_int_direct<Q8_0>, linear_int_as_float<Q8_0>, decode_row_int<Q8_0>},
    {linear_int_expanded<Q2_K>, linear_int_as_float<Q2_K>, decode_row_int<Q2_K>},
    {linear_int_expanded<Q3_K>, linear_int_as_float<Q3_K>, decode_row_int<Q3_K>},
    {linear_int_direct<Q4_K>, linear_int_as_float<Q4_K>, decode_row_int<Q4_K>},
    {linear_int_expanded<Q5_K>, linear_int_as_float<Q5_K>, decode_row_int<Q5_K>},
    {linear_int_expanded<Q6_K>, linear_int_as_float<Q6_K>, decode_row_int<Q6_K>},
    {linear_int_direct<IQ4_NL>, linear_int_as_float<IQ4_NL>, decode_row_int<IQ4_NL>},
    {linear_int_direct<IQ4_XS>, linear_int_as_float<IQ4_XS>, decode_row_int<IQ4_XS>},
    {linear_int_direct<MXFP4>, linear_int_as_float<MXFP4>, decode_row_int<MXFP4>},
    {linear_int_looked_up<IQ1_S>, linear_int_as_float<IQ1_S>, decode_row_int<IQ1_S>},
    {linear_int_looked_up<IQ1_M>, linear_int_as_float<IQ1_M>, decode_row_int<IQ1_M>},
    {linear_int_looked_up<IQ2_XXS>, linear_int_as_float<IQ2_XXS>, decode_row_int<IQ2_XXS>},
    {linear_int_looked_up<IQ2_XS>, linear_int_as_float<IQ2_XS>, decode_row_int<IQ2_XS>},
    {linear_int_looked_up<IQ2_S>, linear_int_as_float<IQ2_S>, decode_row_int<IQ2_S>},
    {linear_int_looked_up<IQ3_XXS>, linear_int_as_float<IQ3_XXS>, decode_row_int<IQ3_XXS>},
    {linear_int_looked_up<IQ3_S>, linear_int_as_float<IQ3_S>, decode_row_int<IQ3_S>},
    {linear_int_unpacked<TQ1_0>, linear_int_as_float<TQ1_0>, decode_row_int<TQ1_0>},
    {linear_int_unpacked<TQ2_0>, linear_int_as_float<TQ2_0>, decode_row_int<TQ2_0>},
    {linear_int_unpacked<NVFP4>, linear_int_as_float<NVFP4>, decode_row_int<NVFP4>},
    {linear_int_unpacked<Q1_0>, linear_int_as_float<Q1_0>, decode_row_int<Q1_0>},
    {linear_int_unpacked<Q2_0>, linear_int_as_float<Q2_0>, decode_row_int<Q2_0>},
};

void linear(const LinearArgs& args, uint32_t panel_begin, uint32_t panel_end, uint32_t tile_begin, uint32_t tile_end) {
  const FormatKernels& kernels = kFormatKernels[static_cast<uint32_t>(args.format)];
  (args.f != nullptr ? kernels.exact : kernels.quantised)(args, panel_begin, panel_end, tile_begin, tile_end);
}

void decode_row(Format format, const uint8_t* panel, uint32_t row, uint32_t k, float* out) {
  kFormatKernels[static_cast<uint32_t>(format)].decode_row(panel, row, k, out);
}

}  // namespace
}  // namespace kvasir::cpu::KVASIR_ISA
