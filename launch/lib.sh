# shellcheck shell=bash
# shellcheck disable=SC2034  # Variables are for the scripts that source this.
# What the scripts in this folder share.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python}
dry_run=0
train=()

# Ten steps on data made by code: the first thing to run anywhere. The batch
# divides by the devices of any slice up to 512.
synthetic=(
  --config=configs/edtn.py:tiny
  --config.train.num_steps=10
  --config.train.batch_size=512
)

fail() {
  echo "${0##*/}: $*" >&2
  exit 2
}

# parse "NAME ..." ARGUMENT...: sets the variables named, from --NAME=VALUE.
# What follows -- goes to the training, and is the ten steps if it is empty.
parse() {
  # Named so that no flag is.
  local _known=$1 _flag
  shift
  while (($#)); do
    case $1 in
      --)
        shift
        train=("$@")
        break
        ;;
      --help | -h)
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
      --dry_run) dry_run=1 ;;
      --*=*)
        _flag=${1%%=*}
        _flag=${_flag#--}
        [[ " $_known " == *" $_flag "* ]] ||
          fail "--$_flag is no flag; there are: $_known dry_run"
        printf -v "$_flag" '%s' "${1#*=}"
        ;;
      *) fail "$1: flags are --NAME=VALUE; arguments of the training follow --" ;;
    esac
    shift
  done
  ((${#train[@]})) || train=("${synthetic[@]}")
}

# number NAME: fails unless the variable holds a whole number above 0.
number() {
  [[ ${!1} =~ ^[1-9][0-9]*$ ]] ||
    fail "--$1=${!1} must be a whole number above 0"
}

# needed NAME...: fails unless every variable has a value.
needed() {
  local _flag _missing=()
  for _flag in "$@"; do
    [[ -n ${!_flag} ]] || _missing+=("--$_flag=...")
  done
  ((!${#_missing[@]})) || fail "needs ${_missing[*]}"
}

# quoted WORD...: the words as one line for a shell.
quoted() {
  local word line=''
  for word in "$@"; do
    printf -v word '%q' "$word"
    line+=${line:+ }$word
  done
  printf '%s\n' "$line"
}

# run COMMAND...: runs it, or prints it with --dry_run.
run() {
  if ((dry_run)); then
    quoted "$@"
  else
    "$@"
  fi
}
