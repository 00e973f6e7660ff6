#!/bin/bash
# A Python job on the standalone cluster: counts words, on every worker, and compares with a count made here.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
as_spark CM_WORKERS="$CM_WORKERS" "$home/bin/spark-submit" --master "$master_url" "${small_job[@]}" \
    --conf spark.scheduler.minRegisteredResourcesRatio=1.0 "$plugin/checks/words.py" 2>"$log" || {
    tail -n 30 "$log" >&2
    exit 1
}
