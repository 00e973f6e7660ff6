#!/bin/bash
# The daemon of this node runs and accepts connections.
# shellcheck source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "$0")/../plugin.sh"

service=dask-worker port=8788
[[ $CM_ROLE == worker ]] || service=dask-scheduler port=8786
require "$service"
listens "$CM_NODE" "$port" || die "$service does not serve port $port"
say "${service#dask-}:$port"
