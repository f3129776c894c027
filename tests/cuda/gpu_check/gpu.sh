#!/usr/bin/env bash
# The first minutes with a borrowed GPU, planned so that no minute of it goes into building.
#   gpu.sh pack            here: builds kvasir-gpu-check (sm_90; KVASIR_CUDA_ARCHITECTURES for others) and puts it with the
#                          libraries that it needs into build/gpu-carry
#   gpu.sh run [FOLDER]    there: runs it in at most ~9 minutes, most important first; log and JSON lines go to FOLDER
#                          ($OUT, else build/gpu-results). Exit status 1 where something is wrong.
# Not here: llama.cpp beside it. What npm has (@node-llama-cpp/linux-x64-cuda 3.22.1) is a 159 MB library (143 MB packed, its
# fatbins are compressed already) that needs libcublas.so.13 (with cublasLt another 0.6 GB) and brings no program to measure
# with, where 64 MiB travel per call; from source it needs cuBLAS headers. Where a machine has CUDA's libraries and a
# network, build llama-bench there.
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../../.." && pwd -P)
CARRY=$ROOT/build/gpu-carry

pack() {
  cmake -S "$ROOT" --preset release -DKVASIR_CUDA=ON ${KVASIR_CUDA_ARCHITECTURES:+-DKVASIR_CUDA_ARCHITECTURES="$KVASIR_CUDA_ARCHITECTURES"} >/dev/null
  ninja -C "$ROOT/build/release" kvasir-gpu-check
  rm -rf "$CARRY"; mkdir -p "$CARRY/lib"
  cp "$ROOT/build/release/bin/kvasir-gpu-check" "$CARRY/"
  strip "$CARRY/kvasir-gpu-check"
  # The other machine has its own C and C++ libraries; the rest travels.
  ldd "$CARRY/kvasir-gpu-check" | awk '$3 ~ /^\// && $1 !~ /^(libc|libm|libstdc\+\+|libgcc_s|libpthread|libdl|librt)\.so/ { print $3 }' | xargs -I{} cp -L {} "$CARRY/lib/"
  du -sh "$CARRY"
}

run() {
  local out=${1:-${OUT:-$ROOT/build/gpu-results}} check=$CARRY/kvasir-gpu-check status=0 begin=$SECONDS
  [[ -x $check ]] || check=$ROOT/build/release/bin/kvasir-gpu-check
  mkdir -p "$out"
  exec > >(tee "$out/log.txt") 2>&1
  export LD_LIBRARY_PATH=$CARRY/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  date; nproc; nvidia-smi || true
  if [[ -z ${KVASIR_CUBLASLT:-} ]] && ! ldconfig -p | grep -q libcublasLt; then
    # Python packages bring the library along.
    local found; found=$(find /usr/local /opt /usr/lib -name 'libcublasLt.so.1[23]' 2>/dev/null | head -n 1)
    [[ -z $found ]] || export KVASIR_CUBLASLT=$found
  fi
  echo "cuBLASLt: ${KVASIR_CUBLASLT:-as the system finds it}"
  part() {  # SECONDS NAME ARGUMENTS...
    local seconds=$1 name=$2; shift 2
    echo "== $name ($((SECONDS - begin)) s)"
    timeout "$seconds" "$check" "$@" --json "$out/$name.jsonl" || { echo "== $name: status $?"; status=1; }
  }
  part 60 ceilings --only ceilings
  part 160 ops --only ops
  part 50 bits --only bits
  part 150 models --only models --quick
  part 40 prompts --only prompts
  part 70 products --only products
  for tool in memcheck racecheck; do
    if ! command -v compute-sanitizer >/dev/null; then echo "skipped: compute-sanitizer is not here"; break; fi
    (( SECONDS - begin < 500 )) || { echo "skipped for want of time: compute-sanitizer $tool"; continue; }
    echo "== compute-sanitizer $tool ($((SECONDS - begin)) s)"
    timeout 40 compute-sanitizer --tool "$tool" --error-exitcode 9 "$check" --only ops --filter "parts that share x*" | tail -n 6 || { echo "== $tool: status $?"; status=1; }
  done
  date
  return $status
}

case ${1:-} in
  pack) pack ;;
  run) shift; run "$@" ;;
  *) sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
