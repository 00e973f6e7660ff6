#!/bin/bash
# A worker: one process with a thread for each processor.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

add() {
    local own=$CM_WORKER_MEMORY_MB address memory threads
    address=$(address_of "$CM_NODE")
    memory=${CM_SETTING_MEMORY%.*}
    ((memory > 0)) || memory=$(between 128 $((own - own / 8 - 192)) 1048576)
    threads=$CM_SETTING_THREADS
    ((threads > 0)) || threads=$CM_WORKER_CPUS
    cm-service add dask-worker --user dask -- "$home/bin/python" -m dask worker "$protocol://$CM_MASTER_IP:8786" \
        --protocol "$protocol" --name "$CM_NODE" --host "$address" --worker-port 8788 --nanny-port 8789 --dashboard-address "$address:8790" \
        --nthreads "$threads" --memory-limit "${memory}MiB" --local-directory /var/lib/dask
}

case ${1:-} in
    install) add ;;
    start) start_all dask-worker 8788 ;;
    stop | leave) stop_all dask-worker ;;
    status) states dask-worker ;;
    join) ;;
    uninstall) forget_all dask-worker ;;
    *) die "worker.sh: unknown verb '${1:-}'" ;;
esac
