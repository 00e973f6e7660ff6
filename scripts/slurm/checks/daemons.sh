#!/bin/bash
# Every daemon of this node runs and accepts connections, and munge's seal is known on the master.
# shellcheck source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "$0")/../plugin.sh"

service=slurm-slurmd port=6818
[[ $CM_ROLE == worker ]] || service=slurm-slurmctld port=6817
require slurm-munge "$service"
listens "$CM_NODE" "$port" || die "$service does not serve port $port"
# The controller answers only who has the cluster's key.
answer=$(scontrol ping || true)
[[ $answer == *'is UP'* ]] || die "$answer"
say "munge ${service#slurm-}:$port"
