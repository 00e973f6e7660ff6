#!/bin/bash
# Every daemon of this node runs; those of the master accept connections.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

require ganglia-gmond
if [[ $CM_ROLE == master ]]; then
    require ganglia-gmetad
    for port in 8649 8651; do listens "$CM_NODE" "$port" || die "nobody serves port $port"; done
fi
say "gmond runs"
