#!/bin/bash
# Every daemon of this node runs and accepts connections.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

[[ $CM_ROLE != master ]] || ! keeps_history || daemons+=(hadoop-historyserver:19888)
for daemon in "${daemons[@]}"; do
    require "${daemon%:*}"
    listens "$CM_NODE" "${daemon#*:}" || die "${daemon%:*} does not serve port ${daemon#*:}"
done
say "${daemons[*]#hadoop-}"
