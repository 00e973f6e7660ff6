# shellcheck shell=bash
# Shared by the role scripts and the checks of this plugin; sourced, never run.
# shellcheck disable=SC2034  # what is not used here is used there
set -euo pipefail

plugin=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=/dev/null
source "$plugin/settings.sh"
# Whole seconds: bash knows no others.
start_timeout=${CM_SETTING_START_TIMEOUT%.*} leave_timeout=${CM_SETTING_LEAVE_TIMEOUT%.*} dead_after=${CM_SETTING_DEAD_AFTER%.*}

home=/opt/hadoop                  # HADOOP_HOME: lib/*.jar and bin/
conf=/etc/hadoop                  # HADOOP_CONF_DIR
data=/var/lib/hadoop              # what HDFS and YARN keep
logs=/var/log/hadoop
export HADOOP_HOME=$home HADOOP_CONF_DIR=$conf PATH=$home/bin:$PATH

: "${CM_MASTER:?}" "${CM_NODE:?}" "${CM_WORKERS:?}"
user=${CM_USER:-cm}               # the login user, who gets a folder in HDFS

say() { printf '%s\n' "$*"; }
die() {
    printf 'hadoop: %s\n' "$*" >&2
    exit 1
}

as_hadoop() { setpriv --reuid=hadoop --regid=hadoop --init-groups env HOME=/var/lib/hadoop USER=hadoop "$@"; }

# between LOW VALUE HIGH
between() { echo $(($2 < $1 ? $1 : $2 > $3 ? $3 : $2)); }

# Copies of each block that so many workers can hold, as many as are wanted at most.
replication_for() { between 1 "$1" $((CM_SETTING_REPLICATION > 0 ? CM_SETTING_REPLICATION : 3)); }

# --- waiting -----------------------------------------------------------------------------------------------------

# wait_until SECONDS WORDS COMMAND...: tries COMMAND until it succeeds; fails with "WORDS" at the deadline.
wait_until() {
    local deadline=$((SECONDS + $1)) words=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            say "hadoop: $words: not within the time given" >&2
            return 1
        fi
        sleep 0.2
    done
}

listens() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# serve SERVICE PORT: waits until a service of this node accepts connections, and gives up at once when it has ended.
serve() {
    local deadline=$((SECONDS + start_timeout))
    until listens "$CM_NODE" "$2"; do
        if ! cm-service status "$1" >/dev/null || ((SECONDS >= deadline)); then
            say "hadoop: $1 on $CM_NODE does not serve port $2; the end of its log:" >&2
            tail -n 30 "$logs/$1.log" >&2 || true
            return 1
        fi
        sleep 0.2
    done
    say "$1 serves on $CM_NODE:$2"
}

# start_all SERVICE PORT [SERVICE PORT]...: starts side by side, then waits for each.
start_all() {
    local words=("$@")
    while (($#)); do
        cm-service start "$1"
        shift 2
    done
    set -- "${words[@]}"
    while (($#)); do
        serve "$1" "$2"
        shift 2
    done
}

stop_all() { # side by side too: a NodeManager alone takes more than six seconds
    local service stopping=()
    for service in "$@"; do
        cm-service status "$service" >/dev/null 2>&1 || continue
        cm-service stop "$service" &
        stopping+=($!)
    done
    for service in "${stopping[@]}"; do wait "$service"; done
}

# states SERVICE...: a line each; fails when one is down.
states() {
    local service down=0
    for service in "$@"; do
        cm-service status "$service" || down=1
    done
    return "$down"
}

forget_all() {
    local service
    for service in "$@"; do cm-service remove "$service"; done
}

# --- HTTP without a JVM: the daemons' own pages answer in milliseconds ----------------------------------------------

# http METHOD HOST PORT PATH: prints the body; fails unless the answer is 2xx.
http() {
    local status line
    {
        exec 3<>"/dev/tcp/$2/$3"
    } 2>/dev/null || return 1
    printf '%s %s HTTP/1.0\r\nHost: %s:%s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n' "$1" "$4" "$2" "$3" >&3
    IFS= read -r -t 20 status <&3 || return 1
    while IFS= read -r -t 20 line <&3 && [[ $line != $'\r' ]]; do :; done
    timeout 20 cat <&3
    exec 3<&- 3>&-
    [[ $status == HTTP/1.?\ 2* ]]
}

live_datanodes() {
    http GET "$CM_MASTER" 9870 '/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState' |
        sed -n 's/^ *"NumLiveDataNodes" : \([0-9]*\).*/\1/p'
}

# Not by JMX: that shows what was so up to ten seconds ago.
running_nodemanagers() {
    http GET "$CM_MASTER" 8088 /ws/v1/cluster/metrics | sed -n 's/.*"activeNodes":\([0-9]*\).*/\1/p'
}

hdfs_folder() { # PATH OWNER MODE
    local as='user.name=hadoop'
    http PUT "$CM_MASTER" 9870 "/webhdfs/v1$1?op=MKDIRS&permission=$3&$as" >/dev/null &&
        http PUT "$CM_MASTER" 9870 "/webhdfs/v1$1?op=SETOWNER&owner=$2&$as" >/dev/null
}
