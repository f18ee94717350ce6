#!/usr/bin/env bash
# Kubernetes: prints a JobSet for GPU nodes or a TPU slice.
#
#   launch/jobset.sh --kind=gpu --image=REPO/edtn:1 --hosts=2 --chips=8 \
#       --workdir=gs://BUCKET/first | kubectl apply -f -          ten steps
#   launch/jobset.sh --kind=tpu --image=REPO/edtn:1 --hosts=4 --chips=4 \
#       --accelerator=tpu-v5-lite-podslice --topology=4x4 \
#       --workdir=gs://BUCKET/x -- --config=configs/edtn.py | kubectl apply -f -
#
# Flags: --kind=gpu|tpu (gpu), --name (edtn), --image, --hosts=N (1), --chips=N
# a host (8), --accelerator (gpu: any; tpu: tpu-v5-lite-podslice), --topology
# (tpu), --workdir that all hosts reach, --service_account, --restarts=N (10).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
kind=gpu name=edtn image='' hosts=1 chips=8 accelerator='' topology=''
workdir='' service_account='' restarts=10
parse 'kind name image hosts chips accelerator topology workdir service_account restarts' "$@"
needed image workdir
number hosts
number chips
number restarts
[[ $name =~ ^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$ ]] ||
  fail "--name=$name must be small letters, digits and -"

# text WORD: as a YAML string in single quotes.
text() {
  printf "'%s'" "${1//\'/\'\'}"
}

selector=()
annotation=''
case $kind in
  gpu)
    resource=nvidia.com/gpu
    [[ -z $accelerator ]] ||
      selector+=("cloud.google.com/gke-accelerator: $(text "$accelerator")")
    # The first pod's name is known before it starts; its number, in the pod.
    processes="$name-worker-0-0.$name:8476,$hosts,\$(POD_NUMBER)"
    ;;
  tpu)
    resource=google.com/tpu
    needed topology
    selector+=(
      "cloud.google.com/gke-tpu-accelerator: $(text "${accelerator:-tpu-v5-lite-podslice}")"
      "cloud.google.com/gke-tpu-topology: $(text "$topology")"
    )
    annotation='alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool'
    # GKE tells every worker of a slice its number and the others' names.
    processes=auto
    ;;
  *) fail "--kind=$kind must be gpu or tpu" ;;
esac

# YAML, from the outside in; lists of lines are indented where they stand.
cat << YAML
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
YAML
[[ -z $annotation ]] || printf '  annotations:\n    %s\n' "$annotation"
cat << YAML
spec:
  network:
    enableDNSHostnames: true
    subdomain: $name
    publishNotReadyAddresses: true
  # A process that fails ends the others; all start again and continue.
  failurePolicy:
    maxRestarts: $restarts
  replicatedJobs:
  - name: worker
    replicas: 1
    template:
      spec:
        parallelism: $hosts
        completions: $hosts
        completionMode: Indexed
        backoffLimit: 0
        template:
          spec:
            restartPolicy: Never
            # Time to save after SIGTERM.
            terminationGracePeriodSeconds: 180
YAML
[[ -z $service_account ]] ||
  echo "            serviceAccountName: $(text "$service_account")"
if ((${#selector[@]})); then
  echo '            nodeSelector:'
  printf '              %s\n' "${selector[@]}"
fi
cat << YAML
            containers:
            - name: edtn
              image: $(text "$image")
              workingDir: /edtn
              command: [bash, launch/worker.sh]
              args:
              - $(text "--workdir=$workdir")
              - '--doctor=1'
              - '--'
YAML
for word in "${train[@]}"; do
  echo "              - $(text "$word")"
done
cat << YAML
              ports:
              - containerPort: 8476
              env:
              - name: POD_NUMBER
                valueFrom:
                  fieldRef:
                    fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
              - name: EDTN_PROCESSES
                value: $(text "$processes")
              resources:
                requests:
                  $resource: $chips
                limits:
                  $resource: $chips
              volumeMounts:
              # NCCL and grain pass arrays by it; the default is 64 MB.
              - name: memory
                mountPath: /dev/shm
            volumes:
            - name: memory
              emptyDir:
                medium: Memory
YAML
