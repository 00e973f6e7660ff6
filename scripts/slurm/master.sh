#!/bin/bash
# The master: slurmctld.
# shellcheck source-path=SCRIPTDIR/../boot source=plugin.sh
source "$(dirname "$0")/plugin.sh"

services=(slurm-munge slurm-slurmctld)

idle() { # no job is left on the nodes given
    [[ -z $(squeue --noheader --nodelist="$1" --states=running,completing) ]]
}

# The jobs of those who leave end first; no new ones come to them.
leave() {
    local node all leaving=
    cm-service status slurm-slurmctld >/dev/null || return 0
    all=$(sinfo --noheader --Node --format %N | tr -d ' ')
    for node in $CM_LEAVING; do # one that never came has no jobs
        if grep -x "$node" <<<"$all" >/dev/null; then leaving+=${leaving:+,}$node; fi
    done
    [[ -n $leaving ]] || return 0
    scontrol update NodeName="$leaving" State=DRAIN Reason="leaves the cluster"
    # A dead node's jobs are Slurm's business: it has requeued them.
    wait_with slurm-slurmctld "$leave_timeout" "the jobs on $leaving end" idle "$leaving"
}

case ${1:-} in
    install)
        cm-service add slurm-slurmctld -- /bin/sh -c 'install -d -m 755 -o slurm -g slurm /run/slurm && exec setpriv --reuid=slurm --regid=slurm --init-groups /usr/sbin/slurmctld -D'
        ;;
    start)
        cm-service start slurm-munge
        start_all slurm-slurmctld 6817
        ;;
    stop)
        stop_all slurm-slurmctld
        stop_all slurm-munge
        ;;
    status) states "${services[@]}" ;;
    join) ;;
    leave) leave ;;
    uninstall) forget_all slurm-slurmctld ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
