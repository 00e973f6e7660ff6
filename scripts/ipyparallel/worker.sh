#!/bin/bash
# A worker: engines, one for each processor, each a service.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

add() {
    local service
    for service in "${services[@]}"; do
        cm-service add "$service" --user ipyparallel -- "$plugin/files/engine" "$home/bin/python" -m ipyparallel.engine \
            "--profile-dir=$profile" --log-level=WARN --IPEngine.timeout=10 "--IPEngine.max_heartbeat_misses=$(between 4 $((2 * dead_after)) 3600)"
    done
}

start() {
    local service
    for service in "${services[@]}"; do cm-service start "$service"; done
}

case ${1:-} in
    install) add ;;
    start) start ;;
    stop | leave) stop_all "${services[@]}" ;;
    status) states "${services[@]}" ;;
    join) ;;
    uninstall) forget_all "${services[@]}" ;;
    *) die "worker.sh: unknown verb '${1:-}'" ;;
esac
