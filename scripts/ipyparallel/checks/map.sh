#!/bin/bash
# A map whose tasks ran on every engine of every worker, with the right sum.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

# shellcheck disable=SC2086  # names of nodes
client checks/map.py "$engines" $CM_WORKERS
