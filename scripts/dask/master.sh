#!/bin/bash
# The master: Dask's scheduler.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

# The data of those who leave are copied to those who stay, before anything is stopped.
leave() {
    cm-service status dask-scheduler >/dev/null || return 0
    # shellcheck disable=SC2086  # names of nodes
    timeout "$leave_timeout" "$home/bin/python" "$plugin/files/retire.py" ${CM_LEAVING:?}
}

case ${1:-} in
    install)
        cm-service add dask-scheduler --user dask -- "$home/bin/python" -m dask scheduler --protocol "$protocol" --host "$CM_MASTER_IP" \
            --port 8786 --dashboard-address "$CM_MASTER_IP:8787" --no-show
        ;;
    start) start_all dask-scheduler 8786 ;;
    stop) stop_all dask-scheduler ;;
    status) states dask-scheduler ;;
    leave) leave ;;
    join) ;;
    uninstall) forget_all dask-scheduler ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
