#!/bin/bash
# Every daemon of this node runs and accepts connections.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

if [[ $CM_ROLE == master ]]; then
    daemons=(hadoop-namenode:9870 hadoop-resourcemanager:8088)
    [[ $CM_SETTING_HISTORY != true ]] || daemons+=(hadoop-historyserver:19888)
else
    daemons=(hadoop-datanode:9864 hadoop-nodemanager:8042)
fi
for daemon in "${daemons[@]}"; do
    cm-service status "${daemon%:*}" >/dev/null || die "${daemon%:*} does not run"
    listens "$CM_NODE" "${daemon#*:}" || die "${daemon%:*} does not serve port ${daemon#*:}"
done
say "${daemons[*]#hadoop-}"
