#!/bin/bash
# The server of this node, if it has one, belongs to a quorum.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

if is_server; then
    require zookeeper
    mode_of "$CM_NODE" || die "the server of $CM_NODE has no quorum"
else
    say "no server here"
fi
