#!/bin/bash
# The master: NameNode, ResourceManager and the history of jobs.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

services=(hadoop-namenode hadoop-resourcemanager)
[[ $CM_SETTING_HISTORY != true ]] || services+=(hadoop-historyserver)

format() { # once: a second format would lose what HDFS holds
    compgen -G "$data/name/current/fsimage_*.md5" >/dev/null && return 0
    as_hadoop "$home/bin/hdfs" namenode -format -force -nonInteractive -clusterid "$CM_CLUSTER" ||
        { tail -n 30 "$logs/hadoop-namenode.log" >&2; die "the NameNode could not be formatted"; }
}

# At the first start only: later the NameNode is in safe mode until workers have told of their blocks, and these start after it.
# Its page is there before it has read what HDFS holds: what it says until then is no answer.
make_folders() {
    local folder
    wait_until "$start_timeout" "the NameNode has read what HDFS holds" http GET "$CM_MASTER" 9870 '/webhdfs/v1/?op=GETFILESTATUS'
    ! http GET "$CM_MASTER" 9870 "/webhdfs/v1/user/$user?op=GETFILESTATUS" >/dev/null || return 0
    for folder in /tmp /user /mapreduce /mapreduce/intermediate /mapreduce/done; do hdfs_folder "$folder" hadoop 1777; done
    for folder in hadoop root "$user"; do hdfs_folder "/user/$folder" "$folder" 755; done
}

start() {
    start_all hadoop-namenode 9870 hadoop-resourcemanager 8088
    make_folders
    # It serves when HDFS can be written, which takes the workers: the check of the daemons waits for it.
    [[ $CM_SETTING_HISTORY != true ]] || cm-service start hadoop-historyserver
}

namenode_runs() { cm-service status hadoop-namenode >/dev/null; }

refresh() { # tell both masters who belongs to the cluster and who is on the way out; they read it at their start, too
    namenode_runs && cm-service status hadoop-resourcemanager >/dev/null || return 0
    as_hadoop timeout 60 "$home/bin/hdfs" dfsadmin -refreshNodes &
    local dfs=$!
    as_hadoop timeout 60 "$home/bin/yarn" rmadmin -refreshNodes
    wait "$dfs"
}

# Of those alive: a dead node would be on its way out for ever.
none_copies() {
    local live
    live=$(http GET "$CM_MASTER" 9870 '/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo' | grep '"LiveNodes"') || return 1
    [[ $live != *'Decommission In Progress'* ]]
}

# More copies than there are nodes would never be reached, and fewer would be lost with the next node: when the number of
# workers crosses the number of copies that is wanted, what HDFS holds is told so.
fit_replication() {
    local wanted
    wanted=$(replication_for "$(wc -w <<<"$CM_WORKERS")")
    [[ ! -e $data/replication || $(<"$data/replication") != "$wanted" ]] || return 0
    as_hadoop timeout 120 "$home/bin/hdfs" dfs -setrep -R "$wanted" / >/dev/null
    echo "$wanted" >"$data/replication"
}

# The blocks of those who leave are copied to those who stay, before anything is stopped. CM_WORKERS are those who stay.
leave() {
    [[ -n ${CM_LEAVING:-} ]] || die "leave: CM_LEAVING is empty"
    namenode_runs || die "the NameNode does not run: cm cluster start $CM_CLUSTER hadoop"
    tr ' ' '\n' <<<"$CM_WORKERS $CM_LEAVING" >"$conf/workers"
    tr ' ' '\n' <<<"$CM_LEAVING" >"$conf/leaving"
    fit_replication
    refresh
    wait_until "$leave_timeout" "the blocks of $CM_LEAVING are copied to other DataNodes" none_copies
    tr ' ' '\n' <<<"$CM_WORKERS" >"$conf/workers"
    : >"$conf/leaving"
    refresh
}

case ${1:-} in
    install)
        format
        [[ -e $data/replication ]] || replication_for "$(wc -w <<<"$CM_WORKERS")" >"$data/replication"
        cm-service add hadoop-namenode --user hadoop -- "$home/bin/hdfs" namenode
        cm-service add hadoop-resourcemanager --user hadoop -- "$home/bin/yarn" resourcemanager
        [[ $CM_SETTING_HISTORY != true ]] ||
            cm-service add hadoop-historyserver --user hadoop -- "$home/bin/mapred" historyserver
        ;;
    start) start ;;
    stop) stop_all "${services[@]}" ;;
    status) states "${services[@]}" ;;
    join)
        refresh
        ! namenode_runs || fit_replication
        ;;
    leave) leave ;;
    uninstall) forget_all hadoop-namenode hadoop-resourcemanager hadoop-historyserver ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
