# shellcheck shell=bash
# Shared by the role scripts and the checks of this plugin; sourced, never run.
# shellcheck disable=SC2034  # what is not used here is used there
# shellcheck source-path=SCRIPTDIR/../boot source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "${BASH_SOURCE[0]}")/../plugin.sh"

home=/opt/hadoop                  # HADOOP_HOME: lib/*.jar and bin/
conf=/etc/hadoop                  # HADOOP_CONF_DIR
data=/var/lib/hadoop              # what HDFS and YARN keep
logs=/var/log/hadoop
export HADOOP_HOME=$home HADOOP_CONF_DIR=$conf PATH=$home/bin:$PATH

# The plugins hdfs and yarn are parts of hadoop: the same scripts, under another name.
parts="hdfs yarn"
[[ ${plugin##*/} != hdfs && ${plugin##*/} != yarn ]] || parts=${plugin##*/}
has() { [[ " $parts " == *" $1 "* ]]; }
keeps_history() { has hdfs && has yarn && [[ $CM_SETTING_HISTORY == true ]]; }

# What this node runs, each with the port of its page; and the history of jobs, which serves when HDFS can be written, and
# that takes the workers: the check of the daemons waits for it.
daemons=()
if [[ $CM_ROLE == master ]]; then
    ! has hdfs || daemons+=(hadoop-namenode:9870)
    ! has yarn || daemons+=(hadoop-resourcemanager:8088)
else
    ! has hdfs || daemons+=(hadoop-datanode:9864)
    ! has yarn || daemons+=(hadoop-nodemanager:8042)
fi
start_daemons() {
    local each words=()
    for each in "${daemons[@]}"; do words+=("${each%:*}" "${each#*:}"); done
    start_all "${words[@]}"
}

as_hadoop() { as hadoop env HOME="$data" "$@"; }

# Copies of each block that so many workers can hold, as many as are wanted at most.
replication_for() { between 1 "$1" $((CM_SETTING_REPLICATION > 0 ? CM_SETTING_REPLICATION : 3)); }

log_of() { as hadoop timeout 20 tail -n 30 "$logs/$1.log"; } # which the daemons write themselves

# --- the daemons' own pages answer in milliseconds, where a client of Hadoop takes a second --------------------------

live_datanodes() {
    http GET "$CM_MASTER" 9870 '/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState' |
        sed -n 's/^ *"NumLiveDataNodes" : \([0-9]*\).*/\1/p'
}

# Not by JMX: that shows what was so up to ten seconds ago.
running_nodemanagers() {
    http GET "$CM_MASTER" 8088 /ws/v1/cluster/metrics | sed -n 's/.*"activeNodes":\([0-9]*\).*/\1/p'
}

# hdfs_folder PATH OWNER MODE
hdfs_folder() {
    local as='user.name=hadoop' answer
    if ! answer=$(http PUT "$CM_MASTER" 9870 "/webhdfs/v1$1?op=MKDIRS&permission=$3&$as") ||
        ! answer=$(http PUT "$CM_MASTER" 9870 "/webhdfs/v1$1?op=SETOWNER&owner=$2&$as"); then
        die "HDFS does not make the folder $1: ${answer:-no answer}"
    fi
}

# at_datanode METHOD OPERATION PATH [TEXT]: write or read a file of HDFS as user hadoop, at the DataNode that the NameNode names.
at_datanode() {
    local place
    place=$(http "$1" "$CM_MASTER" 9870 "/webhdfs/v1$3?op=$2&noredirect=true&user.name=hadoop") || die "HDFS, $2 $3: ${place:-no answer}"
    [[ $place =~ \"Location\":\"http://([^:]+):([0-9]+)([^\"]+)\" ]] || die "HDFS names no DataNode for $3: $place"
    http "$1" "${BASH_REMATCH[@]:1:3}" "${4:-}" application/octet-stream
}
hdfs_write() { at_datanode PUT CREATE "$1" "$2"; }
hdfs_read() { at_datanode GET OPEN "$1"; }
