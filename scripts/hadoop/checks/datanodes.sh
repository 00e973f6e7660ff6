#!/bin/bash
# Prints the number of live DataNodes; they must be as many as there are workers.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"
live=$(live_datanodes)
say "${live:-no} live DataNodes of $(wc -w <<<"$CM_WORKERS") workers"
[[ $live == "$(wc -w <<<"$CM_WORKERS")" ]]
