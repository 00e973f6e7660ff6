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

# No pipe into grep -q: what is still writing when that has found it fails, and with it the pipe.
is_server() { grep -qxF "$CM_NODE" <<<"$(servers)"; }

# The number of a server is its node's own, so that it stays the same for good. They begin with 1.
own_id() { echo $((CM_INDEX + 1)); }

own_line() {
    local address
    address=$(address_of "$CM_NODE")
    echo "server.$(own_id)=$address:2888:3888:participant;$address:2181"
}

# --- asking ---------------------------------------------------------------------------------------------------------

# about NODE: what its server says of itself; fails when there is none
about() {
    # shellcheck disable=SC2016  # expanded there
    timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/2181" && printf srvr >&3 && cat <&3' bash "$1" 2>/dev/null
}

# mode_of NODE: leader or follower; fails when the server has no quorum, or is not there
mode_of() { about "$1" | sed -n 's/^Mode: //p' | grep .; }

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

# others about|mode_of: the other nodes that have a server, or one with a quorum, as zkCli.sh wants them; fails without any
others() {
    local node found=()
    for node in $CM_NODES; do
        [[ $node == "$CM_NODE" ]] || ! "$1" "$node" >/dev/null || found+=("$node:2181")
    done
    (IFS=, && echo "${found[*]}")
    ((${#found[@]} > 0))
}

# --- a server of this node ------------------------------------------------------------------------------------------

super_digest() { # what ZooKeeper knows the secret by
    printf 'super:%s' "$(<"$plugin/secrets/super")" | sha1sum | cut -d ' ' -f 1 | tr a-f A-F | basenc --base16 -d | base64
}

# configure MEMBERS: this node's server, with the lines of those that it looks for at first
configure() {
    folders_as zookeeper 750 "$data/conf"
    own_id | write_as zookeeper "$data/myid" 644
    printf '%s\n' "$1" | write_as zookeeper "$config.dynamic" 640
    write_as zookeeper "$config" 640 <<END
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

is_in() { grep -q "^server\.$(own_id)=" <<<"$1"; } # lines
enlist() { is_in "$(lines "$1")" || change "$1" <<<"reconfig -add $(own_line)"; }

# serve_with MEMBERS: starts a server that looks for these at first
serve_with() {
    stop_all zookeeper
    configure "$1"
    add_service
    start_all zookeeper 2181
}

# Each that comes asks the others to take it in: nobody who has not the ensemble's data is ever counted on. One whose disk is
# new is taken out first, where it was in.
join_ensemble() {
    local ensemble known
    wait_until "$start_timeout" "the other servers have a quorum" others mode_of ||
        die "there is no ensemble to join: cm cluster start $CM_CLUSTER zookeeper"
    ensemble=$(others mode_of)
    known=$(lines "$ensemble") || die "$ensemble don't say who belongs to the ensemble"
    if is_in "$known"; then
        change "$ensemble" <<<"reconfig -remove $(own_id)"
        known=$(lines "$ensemble") || die "$ensemble don't say who belongs to the ensemble"
    fi
    serve_with "$known"$'\n'"$(own_line)"
    wait_with zookeeper "$start_timeout" "$CM_NODE joins the ensemble" enlist "$ensemble"
}

start_server() {
    if [[ -e $data/joined ]]; then
        start_all zookeeper 2181
        return
    fi
    # The master begins an ensemble, but for one in the place of a lost one, whose ensemble is there.
    if [[ $CM_ROLE == master ]] && ! others about >/dev/null; then serve_with "$(own_line)"; else join_ensemble; fi
    as zookeeper touch "$data/joined"
}

# When nodes come, this one may become a server.
take_part() {
    ! is_server || [[ -e $data/joined ]] || start_server
}

# When nodes go, this one may be none any more. Its data go when the ensemble does without them, and not before.
take_leave() {
    local known
    ! is_server && [[ -e $config ]] || return 0
    known=$(lines "$CM_MASTER:2181") || die "$CM_MASTER doesn't say who belongs to the ensemble"
    ! is_in "$known" || die "the ensemble still counts on $CM_NODE"
    cm-service remove zookeeper
    (cd / && as zookeeper find "$data" -mindepth 1 -delete)
}

server_status() {
    if ! is_server; then
        say "no server here"
        return
    fi
    states zookeeper
    mode_of "$CM_NODE" || die "the server of $CM_NODE has no quorum"
}
