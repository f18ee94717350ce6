#!/usr/bin/env bash
# Runs one process of a training, wherever a shell stands between it and the
# scheduler: passes SIGTERM on, so that it saves.
#
#   launch/worker.sh --workdir=gs://BUCKET/run -- --config=configs/edtn.py
#
# Flags: --workdir, --doctor=1 looks for problems first, --dry_run.
# Exit status: that of the training; 75 if a signal ended it before its last
# step, so that the scheduler starts it again, where it continues.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
workdir='' doctor=''
parse 'workdir doctor' "$@"
needed workdir
cd "$root" || exit 2

if [[ -n $doctor ]]; then
  run "$python" -m launch.doctor "--workdir=$workdir" --wait=300 \
    "${train[@]}" || exit
fi
command=("$python" main.py train "--workdir=$workdir" "${train[@]}")
if ((dry_run)); then
  quoted "${command[@]}"
  exit
fi
"${command[@]}" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM INT
# `wait` returns when a signal comes, and again when the training has ended.
wait "$child"
status=$?
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  status=$?
done
if ((status == 0)); then
  "$python" -m launch.finished "--workdir=$workdir"
  status=$?
fi
exit "$status"
