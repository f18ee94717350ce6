#!/usr/bin/env bash
# Several processes on this machine, as a rehearsal of many machines.
#
#   launch/local.sh --processes=2 --devices=2              ten steps
#   launch/local.sh --processes=2 --workdir=runs/x -- --config=configs/edtn.py
#
# Flags: --processes=N (2), --devices=N a process, virtual ones on the CPU (1),
# --workdir=DIR (runs/local), --port=N (8476), --dry_run.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
processes=2 devices=1 workdir=runs/local port=8476
parse 'processes devices workdir port' "$@"
number processes
number devices
number port
cd "$root" || exit 2

children=()
trap 'kill -TERM "${children[@]}" 2>/dev/null' TERM INT
for ((i = 0; i < processes; i++)); do
  command=(
    env "EDTN_PROCESSES=127.0.0.1:$port,$processes,$i"
    JAX_PLATFORMS=cpu "JAX_NUM_CPU_DEVICES=$devices"
    "$python" main.py train "--workdir=$workdir" "${train[@]}"
  )
  if ((dry_run)); then
    quoted "${command[@]}"
  else
    "${command[@]}" &
    children+=("$!")
  fi
done
status=0
for child in "${children[@]}"; do
  wait "$child"
  code=$?
  while kill -0 "$child" 2>/dev/null; do  # a signal ended `wait`, not it
    wait "$child"
    code=$?
  done
  ((status)) || status=$code
done
exit "$status"
