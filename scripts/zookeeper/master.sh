#!/bin/bash
# The master: always a server, and the one that takes others out of the ensemble.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

# dismiss ADDRESS...: takes out of the ensemble all that are not at one of these addresses
dismiss() {
    local id address gone=()
    while read -r id address; do
        [[ " $* " == *" $address "* ]] || gone+=("$id")
    done < <(members "$CM_NODE:2181")
    ((${#gone[@]} == 0)) || change "$CM_NODE:2181" <<<"reconfig -remove $(IFS=, && echo "${gone[*]}")"
}

# Those who go are taken out before anything is stopped, and so is one that stays and makes the number an even one.
# CM_WORKERS are those who stay.
leave() {
    local node staying=()
    [[ -e $config ]] || return 0
    cm-service status zookeeper >/dev/null || die "it does not run on $CM_NODE: cm cluster start $CM_CLUSTER zookeeper"
    mode_of "$CM_NODE" >/dev/null || die "the ensemble has no quorum: bring back the servers that it lacks first"
    for node in $(servers); do staying+=("$(address_of "$node")"); done
    # Where its leader goes, the answer may be lost.
    wait_with zookeeper "$timeout" "$CM_LEAVING leaves the ensemble" dismiss "${staying[@]}"
}

case ${1:-} in
    install | join) ;;
    start) start_server ;;
    stop) stop_all zookeeper ;;
    status) server_status ;;
    leave) leave ;;
    uninstall) forget_all zookeeper ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
