#!/bin/bash
# The master: the gmond that all others send to, and gmetad, which keeps what that one has and gives it to who asks.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

case ${1:-} in
    install)
        configure_gmetad
        # In the foreground it says all that it does.
        cm-service add ganglia-gmetad --user ganglia -- /bin/sh -c "exec /usr/sbin/gmetad --debug=1 --conf=$conf/gmetad.conf >/dev/null 2>&1"
        ;;
    start) start_all ganglia-gmond 8649 ganglia-gmetad 8651 ;;
    stop) stop_all ganglia-gmetad ganglia-gmond ;;
    status) states ganglia-gmond ganglia-gmetad ;;
    join | leave) ;;
    uninstall) forget_all ganglia-gmetad ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
