// Every kernel, compiled for the CPU: the same files that nvcc compiles for the GPU.
#include "backends/cuda/kernels/attention.cu"
#include "backends/cuda/kernels/best.cu"
#include "backends/cuda/kernels/compaction.cu"
#include "backends/cuda/kernels/gemm.cu"
#include "backends/cuda/kernels/gemv.cu"
#include "backends/cuda/kernels/linear.cu"
#include "backends/cuda/kernels/recurrent.cu"
#include "backends/cuda/kernels/rows.cu"
