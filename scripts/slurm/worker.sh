#!/bin/bash
# A worker: slurmd.
# shellcheck source-path=SCRIPTDIR/../boot source=plugin.sh
source "$(dirname "$0")/plugin.sh"

# One that left and is back must not stay drained; what somebody else has drained stays so.
take_back() {
    [[ $(sinfo --noheader --nodes="$CM_NODE" --format=%E) != "leaves the cluster" ]] ||
        scontrol update NodeName="$CM_NODE" State=RESUME
}

usable() { [[ $(sinfo --noheader --nodes="$CM_NODE" --format=%T) =~ ^(idle|mixed|allocated)$ ]]; }

case ${1:-} in
    install) cm-service add slurm-slurmd -- /bin/sh -c 'install -d -m 755 -o root -g root /run/slurm && exec /usr/sbin/slurmd -D' ;;
    start)
        cm-service start slurm-munge
        start_all slurm-slurmd 6818
        take_back
        wait_with "slurm-munge slurm-slurmd $CM_MASTER:6817" "$start_timeout" "$CM_NODE takes jobs" usable ||
            die "$CM_NODE takes no jobs: $(sinfo --noheader --nodes="$CM_NODE" --format='%T %E')"
        ;;
    stop | leave)
        stop_all slurm-slurmd
        stop_all slurm-munge
        ;;
    status) states slurm-munge slurm-slurmd ;;
    join) ;;
    uninstall) forget_all slurm-slurmd ;;
    *) die "worker.sh: unknown verb '${1:-}'" ;;
esac
