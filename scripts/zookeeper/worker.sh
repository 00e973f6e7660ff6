#!/bin/bash
# A worker: a server, if it is one of the first; see `servers` in files/common.sh.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

case ${1:-} in
    install | join) ;;
    start) ! is_server || start_server ;;
    stop | leave) stop_all zookeeper ;;
    status) server_status ;;
    uninstall) forget_all zookeeper ;;
    *) die "worker.sh: unknown verb '${1:-}'" ;;
esac
