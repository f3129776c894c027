#!/usr/bin/env bash
# The first minutes with a GPU: builds only what is needed, for that GPU alone, and runs kvasir-gpu-check. Output and a
# table of results (JSON lines) go to the folder given, or to $OUT. usage: tests/cuda/gpu_check/gpu.sh [FOLDER] [ARCH]
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../../.." && pwd -P)
OUT=${1:-${OUT:-$ROOT/build/gpu-results}}
ARCH=${2:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n1 | tr -d .)}
BUILD=$ROOT/build/gpu
mkdir -p "$OUT" "$BUILD"
exec > >(tee "$OUT/log.txt") 2>&1
date; nproc; nvidia-smi || true
compiler=(); command -v clang++-19 >/dev/null || compiler=(-DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++)
(( ${#compiler[@]} )) || compiler=(-DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19)
cmake -S "$ROOT" -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release "${compiler[@]}" -DKVASIR_CUDA=ON -DKVASIR_CUDA_ARCHITECTURES="${ARCH:-90}" >"$OUT/cmake.txt" ||
  { tail -n 30 "$OUT/cmake.txt"; exit 1; }
ninja -C "$BUILD" kvasir-gpu-check | tail -n 3
date
check=$BUILD/bin/kvasir-gpu-check
status=0
timeout 200 "$check" --only ops --json "$OUT/ops.jsonl" || status=1
timeout 60 "$check" --only bits --json "$OUT/bits.jsonl" || status=1
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck synccheck; do
    echo "compute-sanitizer $tool"
    timeout 60 compute-sanitizer --tool "$tool" --error-exitcode 9 "$check" --only ops --filter "parts that share x*,attention equals*" | tail -n 5 || status=1
  done
else
  echo "skipped: compute-sanitizer is not here"
fi
timeout 240 "$check" --only models --quick --json "$OUT/models.jsonl" || status=1
timeout 100 "$check" --only products --json "$OUT/products.jsonl" || status=1
date
exit $status
