#!/usr/bin/env bash
# One machine with several GPUs: one process that has all of them.
#
#   launch/gpu_host.sh                                      ten steps
#   launch/gpu_host.sh --gpus=0,1,2,3 --workdir=runs/x -- --config=configs/edtn.py
#
# Flags: --gpus=LIST (all), --workdir=DIR (runs/gpu_host), --dry_run. Looks for
# problems first, and starts nothing if there are any.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
gpus='' workdir=runs/gpu_host
parse 'gpus workdir' "$@"
cd "$root"

places=(JAX_PLATFORMS=cuda)
expected=()
if [[ -n $gpus ]]; then
  [[ $gpus =~ ^[0-9]+(,[0-9]+)*$ ]] || fail "--gpus=$gpus must be like 0,1,2"
  places+=("CUDA_VISIBLE_DEVICES=$gpus")
  commas=${gpus//[0-9]/}
  expected=("--devices=$((${#commas} + 1))")
fi
run env "${places[@]}" "$python" -m launch.doctor "--workdir=$workdir" \
  ${expected[@]+"${expected[@]}"} "${train[@]}"
if ((dry_run)); then
  run env "${places[@]}" "$python" main.py train "--workdir=$workdir" \
    "${train[@]}"
else
  # In the shell's place, so that signals reach it.
  exec env "${places[@]}" "$python" main.py train "--workdir=$workdir" \
    "${train[@]}"
fi
