#!/usr/bin/env bash
# Several machines with GPUs under SLURM: one process a GPU.
#
#   launch/slurm.sh --nodes=2 --gpus=8 --workdir=/shared/first       ten steps
#   launch/slurm.sh --nodes=2 --gpus=8 --workdir=/shared/x --time=24:00:00 \
#       --options='--partition=a100 --account=me' -- --config=configs/edtn.py
#
# Flags: --nodes=N (1), --gpus=N a node (8), --cpus=N a GPU (8), --time (1:00:00),
# --workdir=DIR that all nodes share, or gs://, --options='OF SBATCH', --dry_run
# prints the job instead of submitting it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
nodes=1 gpus=8 cpus=8 time=1:00:00 workdir='' options=''
parse 'nodes gpus cpus time workdir options' "$@"
needed workdir
number nodes
number gpus
number cpus

# A log cannot be in a bucket.
logs=$workdir
[[ $workdir != *://* ]] || logs=$root

job() {
  local option
  cat << JOB
#!/usr/bin/env bash
#SBATCH --job-name=edtn
#SBATCH --nodes=$nodes
#SBATCH --ntasks-per-node=$gpus
#SBATCH --gpus-per-node=$gpus
#SBATCH --cpus-per-task=$cpus
#SBATCH --time=$time
#SBATCH --output=$logs/slurm-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@180
JOB
  for option in $options; do
    echo "#SBATCH $option"
  done
  cat << JOB
set -uo pipefail
cd $(printf '%q' "$root") || exit 2
# JAX takes coordinator, count and number from SLURM, and for each process the
# GPU of its number on the node; so every process must see all GPUs.
export EDTN_PROCESSES=auto
srun --gpu-bind=none $(quoted "$python" -m launch.doctor "--workdir=$workdir" "--devices=$((nodes * gpus))" --wait=300 "${train[@]}") || exit
status=0
srun --gpu-bind=none $(quoted "$python" main.py train "--workdir=$workdir" "${train[@]}") || status=\$?
# Saved before its end, by the signal above: it goes on in a new job.
if ((status == 0)) && ! $(quoted "$python" -m launch.finished "--workdir=$workdir"); then
  scontrol requeue "\$SLURM_JOB_ID"
fi
exit "\$status"
JOB
}

if ((dry_run)); then
  job
else
  [[ $workdir == *://* ]] || mkdir -p "$workdir"
  job | sbatch
fi
