#!/bin/bash
# A worker: gmond.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

case ${1:-} in
    start) cm-service start ganglia-gmond ;;
    stop | leave) stop_all ganglia-gmond ;;
    status) states ganglia-gmond ;;
    install | join | uninstall) ;;
    *) die "worker.sh: unknown verb '${1:-}'" ;;
esac
