#!/bin/bash
# Prints the number of running NodeManagers; they must be as many as there are workers.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"
running=$(running_nodemanagers)
say "${running:-no} running NodeManagers of $(wc -w <<<"$CM_WORKERS") workers"
[[ $running == "$(wc -w <<<"$CM_WORKERS")" ]]
