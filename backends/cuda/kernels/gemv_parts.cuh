// Several matrices in one launch: their tiles are numbered through.
#pragma once

#include "backends/cuda/kernels/args.h"
#include "backends/cuda/kernels/simt.h"

namespace kvasir::cuda {

/// Which part a tile of the launch belongs to; `tile` becomes its number within the part.
template <class Args>
KVASIR_DEVICE uint32_t part_of_tile(const Args& a, uint32_t& tile) {
  uint32_t which = 0;
  while (tile >= a.part[which].end_tile) ++which;
  if (which > 0) tile -= a.part[which - 1].end_tile;
  return which;
}

}  // namespace kvasir::cuda
