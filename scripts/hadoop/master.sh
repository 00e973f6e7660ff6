#!/bin/bash
# The master: NameNode, ResourceManager and the history of jobs, or what a part of hadoop has of them.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

services=("${daemons[@]%:*}")
! keeps_history || services+=(hadoop-historyserver)

format() { # once: a second format would lose what HDFS holds
    compgen -G "$data/name/current/fsimage_*.md5" >/dev/null && return 0
    as_hadoop "$home/bin/hdfs" namenode -format -force -nonInteractive -clusterid "$CM_CLUSTER" ||
        { log_of hadoop-namenode >&2; die "the NameNode could not be formatted"; }
}

# At the first start only: later the NameNode is in safe mode until workers have told of their blocks, and these start after it.
# Its page is there before it has read what HDFS holds: what it says until then is no answer.
make_folders() {
    local folder
    wait_with hadoop-namenode "$start_timeout" "the NameNode has read what HDFS holds" http GET "$CM_MASTER" 9870 '/webhdfs/v1/?op=GETFILESTATUS'
    ! http GET "$CM_MASTER" 9870 "/webhdfs/v1/user/$user?op=GETFILESTATUS" >/dev/null || return 0
    for folder in /tmp /user; do hdfs_folder "$folder" hadoop 1777; done
    ! has yarn || for folder in /mapreduce /mapreduce/intermediate /mapreduce/done; do hdfs_folder "$folder" hadoop 1777; done
    # Spark's tables, where it is: whoever comes first must not have it to himself.
    hdfs_folder /var/lib/spark/warehouse hadoop 1777
    for folder in hadoop root "$user"; do hdfs_folder "/user/$folder" "$folder" 755; done
}

start() {
    start_daemons
    ! has hdfs || make_folders
    ! keeps_history || cm-service start hadoop-historyserver
}

masters_run() {
    { ! has hdfs || cm-service status hadoop-namenode >/dev/null; } &&
        { ! has yarn || cm-service status hadoop-resourcemanager >/dev/null; }
}

refresh() { # tell both masters who belongs to the cluster and who is on the way out; they read it at their start, too
    local telling=() each
    masters_run || return 0
    ! has hdfs || { as_hadoop timeout 60 "$home/bin/hdfs" dfsadmin -refreshNodes & telling+=($!); }
    ! has yarn || { as_hadoop timeout 60 "$home/bin/yarn" rmadmin -refreshNodes & telling+=($!); }
    for each in "${telling[@]}"; do wait "$each"; done
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
    [[ ! -e $conf/replication || $(<"$conf/replication") != "$wanted" ]] || return 0
    as_hadoop timeout 120 "$home/bin/hdfs" dfs -setrep -R "$wanted" / >/dev/null
    echo "$wanted" >"$conf/replication"
}

add_services() {
    if has hdfs; then
        format
        [[ -e $conf/replication ]] || replication_for "$(wc -w <<<"$CM_WORKERS")" >"$conf/replication"
        cm-service add hadoop-namenode --user hadoop -- "$home/bin/hdfs" namenode
    fi
    ! has yarn || cm-service add hadoop-resourcemanager --user hadoop -- "$home/bin/yarn" resourcemanager
    ! keeps_history || cm-service add hadoop-historyserver --user hadoop -- "$home/bin/mapred" historyserver
}

# The blocks of those who leave are copied to those who stay, before anything is stopped. CM_WORKERS are those who stay.
leave() {
    [[ -n ${CM_LEAVING:-} ]] || die "leave: CM_LEAVING is empty"
    ! has hdfs || cm-service status hadoop-namenode >/dev/null ||
        die "the NameNode does not run: cm cluster start $CM_CLUSTER ${plugin##*/}"
    tr ' ' '\n' <<<"$CM_WORKERS $CM_LEAVING" >"$conf/workers"
    tr ' ' '\n' <<<"$CM_LEAVING" >"$conf/leaving"
    ! has hdfs || fit_replication
    refresh
    ! has hdfs || wait_with hadoop-namenode "$leave_timeout" "the blocks of $CM_LEAVING are copied to other DataNodes" none_copies
    tr ' ' '\n' <<<"$CM_WORKERS" >"$conf/workers"
    : >"$conf/leaving"
    refresh
}

case ${1:-} in
    install) add_services ;;
    start) start ;;
    stop) stop_all "${services[@]}" ;;
    status) states "${services[@]}" ;;
    join)
        refresh
        ! has hdfs || ! masters_run || fit_replication
        ;;
    leave) leave ;;
    uninstall) forget_all hadoop-namenode hadoop-resourcemanager hadoop-historyserver ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
