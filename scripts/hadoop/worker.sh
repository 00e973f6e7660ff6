#!/bin/bash
# A worker: DataNode and NodeManager, or what a part of hadoop has of them.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

services=("${daemons[@]%:*}")

registered() {
    local nodes
    if has hdfs; then
        nodes=$(http GET "$CM_MASTER" 9870 '/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo' | grep '"LiveNodes"') &&
            [[ $nodes == *"\\\"$CM_NODE:9866\\\""* ]] || return 1
    fi
    ! has yarn || http GET "$CM_MASTER" 8088 "/ws/v1/cluster/nodes/$CM_NODE:8041" | grep '"state":"RUNNING"' >/dev/null
}

safe_mode() { # why HDFS can't be written yet; empty when it can
    http GET "$CM_MASTER" 9870 '/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo' | sed -n 's/^ *"Safemode" : "\(.*\)",\{0,1\}$/\1/p'
}
left_safe_mode() {
    local why
    why=$(safe_mode) && [[ -z $why ]]
}

# What runs in containers of YARN. Each is a session of its own, which outlives a NodeManager that was killed or cut short.
in_containers() {
    find /proc -maxdepth 1 -name '[0-9]*' -user hadoop -exec grep -lsz '^CONTAINER_ID=container_' '{}/environ' ';' 2>/dev/null |
        cut -d / -f 3
}

end_containers() {
    local process left deadline=$((SECONDS + 20))
    while left=$(in_containers || true) && [[ -n $left ]]; do # a process may go while it is looked at
        ((SECONDS < deadline)) || die "containers on $CM_NODE do not end: processes ${left//$'\n'/, }"
        for process in $left; do kill -KILL "$process" 2>/dev/null || true; done
        sleep 0.1
    done
}

start() {
    local masters=
    ! has hdfs || masters+=" $CM_MASTER:9870"
    ! has yarn || masters+=" $CM_MASTER:8088"
    ! has yarn || cm-service status hadoop-nodemanager >/dev/null || end_containers
    start_daemons
    wait_with "${services[*]}$masters" "$start_timeout" "$CM_NODE is registered with $CM_MASTER" registered
    ! has hdfs || wait_with "${services[*]}$masters" "$start_timeout" "HDFS leaves safe mode" left_safe_mode ||
        die "HDFS can't be written: $(safe_mode || say "the NameNode does not answer")"
}

case ${1:-} in
    install)
        ! has hdfs || cm-service add hadoop-datanode --user hadoop -- "$home/bin/hdfs" datanode
        ! has yarn || cm-service add hadoop-nodemanager --user hadoop --stop-timeout 30 -- "$home/bin/yarn" nodemanager
        ;;
    start) start ;;
    stop | leave)
        stop_all "${services[@]}"
        end_containers
        ;;
    status) states "${services[@]}" ;;
    join) ;;
    uninstall)
        forget_all "${services[@]}"
        end_containers
        ;;
    *) die "worker.sh: unknown verb '${1:-}'" ;;
esac
