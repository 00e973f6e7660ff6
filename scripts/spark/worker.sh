#!/bin/bash
# A worker: Spark's standalone worker.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

registered() { workers | grep -x "$CM_NODE" >/dev/null; }

case ${1:-} in
    install)
        cm-service add spark-worker --user spark -- /usr/bin/env "SPARK_HOME=$home" "SPARK_CONF_DIR=$conf" "$home/bin/spark-class" \
            org.apache.spark.deploy.worker.Worker --host "$CM_NODE" --port 7078 --webui-port 8081 "$master_url"
        ;;
    start)
        start_all spark-worker 8081
        wait_with "spark-worker $CM_MASTER:8080" "$start_timeout" "$CM_NODE is registered with $CM_MASTER" registered
        ;;
    stop | leave) stop_all spark-worker ;;
    status) states spark-worker ;;
    join) ;;
    uninstall) forget_all spark-worker ;;
    *) die "worker.sh: unknown verb '${1:-}'" ;;
esac
