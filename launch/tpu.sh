#!/usr/bin/env bash
# Cloud TPU: one VM or a slice of a pod, as a queued resource.
#
#   launch/tpu.sh ACTION --name=me --zone=us-central1-a [--dry_run]
#
# Actions, in this order:
#   create   ask for --type (v5litepod-8) with --version, with --spot=1 cheaper
#   status   WAITING_FOR_RESOURCES, PROVISIONING, ACTIVE, ...
#   setup    copy the committed source to every worker, install it
#   check    look for problems on every worker (launch.doctor)
#   run      start the training on every worker; arguments follow --
#   logs     the last lines of worker 0
#   stop     end the training; it saves
#   delete   give the TPU back
#
# Flags: --name, --zone, --project (gcloud's), --type (v5litepod-8), --version
# (v2-alpha-tpuv5-lite), --spot=1, --workdir=gs://BUCKET/RUN, --dry_run prints
# the gcloud commands.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
action=${1:---help}
[[ $action == -* ]] || shift
name='' zone='' project='' type=v5litepod-8 version=v2-alpha-tpuv5-lite
spot='' workdir=''
parse 'name zone project type version spot workdir' "$@"
needed name zone

place=("--zone=$zone")
[[ -z $project ]] || place+=("--project=$project")
queue=(gcloud compute tpus queued-resources)
vm=(gcloud compute tpus tpu-vm)

# everywhere COMMAND: on every worker at once; the copy of the source is ~/edtn.
everywhere() {
  run "${vm[@]}" ssh "$name" "${place[@]}" --worker=all "--command=$1"
}

bucket() {
  needed workdir
  # Workers share no disk.
  [[ $workdir == gs://* ]] || fail "--workdir=$workdir must be gs://BUCKET/RUN"
}

# shellcheck disable=SC2016  # Expanded by the worker, not here.
inside='cd ~/edtn && export PYTHON=$HOME/edtn_env/bin/python'
inside+=' EDTN_PROCESSES=auto'
case $action in
  create)
    kind=()
    [[ -z $spot ]] || kind=(--spot)
    run "${queue[@]}" create "$name" "--node-id=$name" "${place[@]}" \
      "--accelerator-type=$type" "--runtime-version=$version" \
      ${kind[@]+"${kind[@]}"}
    ;;
  status)
    run "${queue[@]}" describe "$name" "${place[@]}" '--format=value(state.state)'
    ;;
  setup)
    archive=$(mktemp -d)/edtn.tar.gz
    ((dry_run)) && archive=/tmp/edtn.tar.gz
    run git -C "$root" archive --format=tar.gz "--output=$archive" HEAD
    run "${vm[@]}" scp "$archive" "$name:edtn.tar.gz" "${place[@]}" --worker=all
    # The image's Python is older than ours; uv brings one.
    everywhere "mkdir -p ~/edtn && tar -xzf ~/edtn.tar.gz -C ~/edtn \
&& python3 -m pip install --quiet --user uv \
&& ~/.local/bin/uv venv --clear --python 3.12 ~/edtn_env \
&& cd ~/edtn \
&& ~/.local/bin/uv pip install --python ~/edtn_env/bin/python -e '.[tpu,gcs]'"
    ;;
  check)
    bucket
    everywhere "$inside && \$PYTHON -m launch.doctor $(quoted "--workdir=$workdir" --wait=180 "${train[@]}")"
    ;;
  run)
    bucket
    everywhere "$inside && { nohup setsid bash launch/worker.sh $(quoted "--workdir=$workdir" -- "${train[@]}") > ~/edtn.log 2>&1 < /dev/null & echo \$! > ~/edtn.pid; }"
    ;;
  logs)
    run "${vm[@]}" ssh "$name" "${place[@]}" --worker=0 \
      '--command=tail -n 40 ~/edtn.log'
    ;;
  stop)
    # shellcheck disable=SC2016  # Expanded by the worker, not here.
    everywhere 'kill -TERM "$(cat ~/edtn.pid)"'
    ;;
  delete)
    run "${queue[@]}" delete "$name" "${place[@]}" --force --quiet
    ;;
  *) fail "$action is no action; see --help" ;;
esac
