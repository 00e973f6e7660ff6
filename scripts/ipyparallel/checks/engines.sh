#!/bin/bash
# The controller runs and accepts connections, and as many engines are registered as there shall be.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

require ipyparallel-controller
listens "$CM_NODE" 10101 || die "the controller does not serve port 10101"
client files/registered.py "$(expected)"
