#!/bin/bash
# Every daemon of this node runs and accepts connections; the master counts as many workers as there are.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

daemons=(spark-worker:8081)
if [[ $CM_ROLE == master ]]; then
    daemons=(spark-master:7077)
    [[ $CM_SETTING_CONNECT != true ]] || daemons+=(spark-connect:15002)
    alive=$(workers | wc -l)
    [[ $alive == "$(wc -w <<<"$CM_WORKERS")" ]] || die "the master counts $alive workers"
fi
for daemon in "${daemons[@]}"; do
    require "${daemon%:*}"
    listens "$CM_NODE" "${daemon#*:}" || die "${daemon%:*} does not serve port ${daemon#*:}"
done
say "${daemons[*]#spark-}"
