#!/bin/bash
# The master: Spark's standalone master and, if wanted, Spark Connect.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

services=(spark-master)
[[ $CM_SETTING_CONNECT != true ]] || services+=(spark-connect)

# Executors hand their blocks to others and leave; no new ones come to those hosts.
leave() {
    cm-service status spark-master >/dev/null || return 0
    local node hosts=''
    for node in ${CM_LEAVING:?}; do hosts+="&host=$node"; done
    http POST "$CM_MASTER" 8080 "/workers/kill/?${hosts#&}" >/dev/null || say "the master takes no wishes: its workers are only stopped"
}

# Connect's executors come with the first query and go when nothing is asked for a while, so that others get the cores.
add_connect() {
    cm-service add spark-connect --user spark -- /usr/bin/env "SPARK_HOME=$home" "SPARK_CONF_DIR=$conf" SPARK_DAEMON_MEMORY=512m \
        "$home/bin/spark-submit" \
        --class org.apache.spark.sql.connect.service.SparkConnectServer --name "Spark Connect" \
        --conf spark.connect.grpc.binding.address="$CM_MASTER_IP" --conf spark.connect.grpc.binding.port=15002 \
        --conf spark.ui.port=4040 --conf spark.port.maxRetries=0 \
        --conf spark.dynamicAllocation.enabled=true --conf spark.dynamicAllocation.shuffleTracking.enabled=true \
        --conf spark.dynamicAllocation.minExecutors=0 --conf spark.dynamicAllocation.initialExecutors=0 \
        --conf spark.dynamicAllocation.executorIdleTimeout=10s --conf spark.dynamicAllocation.shuffleTracking.timeout=30s \
        spark-internal
}

case ${1:-} in
    install)
        cm-service add spark-master --user spark -- /usr/bin/env "SPARK_HOME=$home" "SPARK_CONF_DIR=$conf" "$home/bin/spark-class" \
            org.apache.spark.deploy.master.Master --host "$CM_MASTER" --port 7077 --webui-port 8080
        [[ $CM_SETTING_CONNECT != true ]] || add_connect
        ;;
    start)
        start_all spark-master 7077
        # It serves some seconds later; the check of the daemons waits for it.
        [[ $CM_SETTING_CONNECT != true ]] || cm-service start spark-connect
        ;;
    stop) stop_all spark-connect && stop_all spark-master ;;
    status) states "${services[@]}" ;;
    leave) leave ;;
    join) ;;
    uninstall) forget_all spark-connect spark-master ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
