#!/bin/bash
# Runs `hostname` on all workers at once, as an ordinary user, and compares with their names.
# shellcheck source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "$0")/../plugin.sh"

count=$(wc -w <<<"$CM_WORKERS")
names=$(as slurm srun --nodes="$count" --ntasks="$count" --ntasks-per-node=1 --mem=16 --chdir=/tmp hostname | sort)
expected=$(tr ' ' '\n' <<<"$CM_WORKERS" | sort)
[[ $names == "$expected" ]] || die "srun ran on '${names//$'\n'/ }', expected '${expected//$'\n'/ }'"
say "$count nodes answered srun"
