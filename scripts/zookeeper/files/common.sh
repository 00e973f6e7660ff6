# shellcheck shell=bash
# Shared by the role scripts and the checks of this plugin; sourced, never run.
# shellcheck disable=SC2034  # what is not used here is used there
# shellcheck source-path=SCRIPTDIR/../boot source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "${BASH_SOURCE[0]}")/../plugin.sh"

home=/opt/zookeeper
conf=/etc/zookeeper
data=/var/lib/zookeeper
config=$data/conf/zoo.cfg # the server writes it anew when the ensemble changes
timeout=30                # seconds for what the ensemble is asked

# --- who is a server ------------------------------------------------------------------------------------------------

# The servers are the first of these nodes, the master and then the workers by their numbers. So a server stays one as long as
# there are nodes enough, whatever comes and goes behind it.
servers() {
    local nodes=("$CM_MASTER") count
    mapfile -t -O 1 nodes < <(tr ' ' '\n' <<<"$CM_WORKERS" | sort --version-sort)
    count=$(between 1 "$CM_SETTING_SERVERS" ${#nodes[@]})
    printf '%s\n' "${nodes[@]:0:count - (count + 1) % 2}"
}

is_server() { servers | grep -qxF "$CM_NODE"; }

# The number of a server is its node's own, so that it stays the same for good. They begin with 1.
own_id() { echo $((CM_INDEX + 1)); }

own_line() {
    local address
    address=$(address_of "$CM_NODE")
    echo "server.$(own_id)=$address:2888:3888:participant;$address:2181"
}

# --- asking ---------------------------------------------------------------------------------------------------------

# mode_of NODE: leader or follower; fails when the server has no quorum, or is not there
mode_of() {
    # shellcheck disable=SC2016  # expanded there
    timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/2181" && printf srvr >&3 && cat <&3' bash "$1" 2>/dev/null |
        sed -n 's/^Mode: //p' | grep .
}

# change SERVERS: runs the commands on stdin with the right to change the ensemble; fails when one of them does.
change() {
    {
        printf 'addauth digest super:%s\n' "$(<"$plugin/secrets/super")"
        cat
    } | timeout "$timeout" "$home/bin/zkCli.sh" -server "$1" 2>&1
}

# members SERVERS: the number and the address of each server that belongs to the ensemble
members() { lines "$1" | sed -E 's/^server\.([0-9]+)=([^:]+):.*/\1 \2/'; }
lines() { timeout "$timeout" "$home/bin/zkCli.sh" -server "$1" -waitforconnection get /zookeeper/config 2>/dev/null | grep '^server\.'; }

others() { # those nodes on which a server answers, as zkCli.sh wants them
    local node found=()
    for node in $CM_NODES; do
        [[ $node == "$CM_NODE" ]] || ! mode_of "$node" >/dev/null || found+=("$node:2181")
    done
    (IFS=, && echo "${found[*]}")
}
others_answer() { [[ -n $(others) ]]; }

# --- a server of this node ------------------------------------------------------------------------------------------

super_digest() { # what ZooKeeper knows the secret by
    printf 'super:%s' "$(<"$plugin/secrets/super")" | sha1sum | cut -d ' ' -f 1 | tr a-f A-F | basenc --base16 -d | base64
}

# configure MEMBERS: this node's server, and whom it looks for at first
configure() {
    install -d -m 750 -o zookeeper -g zookeeper "$data/conf"
    own_id | write_file "$data/myid" 644 zookeeper:zookeeper
    printf '%s\n' "$1" | write_file "$config.dynamic" 640 zookeeper:zookeeper
    write_file "$config" 640 zookeeper:zookeeper <<END
dataDir=$data
dynamicConfigFile=$config.dynamic
standaloneEnabled=false
reconfigEnabled=true
tickTime=1000
initLimit=$start_timeout
syncLimit=$(between 2 "$dead_after" 3600)
autopurge.snapRetainCount=3
autopurge.purgeInterval=24
admin.enableServer=false
4lw.commands.whitelist=srvr
DigestAuthenticationProvider.superDigest=super:$(super_digest)
END
}

add_service() {
    local heap=${CM_SETTING_HEAP%.*}
    ((heap > 0)) || heap=$(between 64 $((CM_MEMORY_MB / 4)) 512)
    cm-service add zookeeper --user zookeeper -- /usr/bin/env java "-Xmx${heap}m" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError -cp "$home/lib/*" org.apache.zookeeper.server.quorum.QuorumPeerMain "$config"
}

is_member() { members "$1" | grep -q "^$(own_id) "; }
enlist() { is_member "$1" || change "$1" <<<"reconfig -add $(own_line)"; }

# The first server begins alone, and each that comes asks the others to take it in: nobody who has not the ensemble's data is
# ever counted on. One whose disk is new is taken out first, where it was in.
become_server() {
    local ensemble known=
    if [[ $CM_ROLE == worker ]]; then
        wait_until "$start_timeout" "another server answers" others_answer ||
            die "there is no ensemble to join: cm cluster start $CM_CLUSTER zookeeper"
    fi
    ensemble=$(others)
    if [[ -n $ensemble ]]; then
        ! is_member "$ensemble" || change "$ensemble" <<<"reconfig -remove $(own_id)"
        known=$(lines "$ensemble")
    fi
    stop_all zookeeper
    configure "${known:+$known$'\n'}$(own_line)"
    add_service
    start_all zookeeper 2181
    [[ -z $ensemble ]] || wait_until "$start_timeout" "$CM_NODE joins the ensemble" enlist "$ensemble"
    touch "$data/joined"
}

start_server() {
    if [[ -e $data/joined ]]; then start_all zookeeper 2181; else become_server; fi
}

forget_server() {
    cm-service remove zookeeper
    find "$data" -mindepth 1 -delete
}

# What the nodes are by now decides whether this one has a server.
align() {
    if ! is_server; then
        [[ ! -e $config ]] || forget_server
    elif [[ ! -e $data/joined ]]; then
        start_server
    fi
}

server_status() {
    if ! is_server; then
        say "no server here"
        return
    fi
    states zookeeper
    mode_of "$CM_NODE" || die "the server of $CM_NODE has no quorum"
}
