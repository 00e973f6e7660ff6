#!/bin/bash
# What every node has: gmond, which sends to the master's by unicast.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

# Debian starts its daemons itself where there is systemd; here cm-service does, everywhere alike.
leave_to_cm() {
    [[ -d /run/systemd/system ]] || return 0
    systemctl --quiet disable --now ganglia-monitor.service gmetad.service 2>/dev/null || true
}

# The master's gmond takes nothing from those who are no nodes, or no longer.
channel() { # udp_recv|tcp_accept
    printf '%s_channel {\n  port = 8649\n  bind = %s\n  acl {\n    default = "deny"\n' "$1" "$CM_MASTER_IP"
    addresses | sed 's/.*/    access { ip = "&" mask = 32 action = "allow" }/'
    printf '  }\n}\n'
}

# A node counts as dead when it was silent for four times `silence`, so it says every `silence` that it is there. What is
# measured is what Debian's gmond.conf says, but every five seconds: the master's gmond knows nothing when it has started.
configure() {
    local silence
    silence=$(between 1 $((dead_after / 4)) 3600)
    {
        cat <<END
/* Written by the plugin ganglia of cm, and written anew by it: use the settings of the plugin. */
globals {
  daemonize = no
  setuid = no
  deaf = $([[ $CM_ROLE == master ]] && echo no || echo yes)
  host_dmax = 0
  host_tmax = $silence
  send_metadata_interval = 10
}
cluster { name = "$CM_CLUSTER" }
udp_send_channel {
  host = $CM_MASTER_IP
  port = 8649
}
END
        if [[ $CM_ROLE == master ]]; then
            channel udp_recv
            channel tcp_accept
        fi
        sed -nE '/^modules/,$ { s/(collect_every|time_threshold) = [0-9]+/\1 = 5/; p }' /etc/ganglia/gmond.conf |
            sed "0,/time_threshold = 5/s//time_threshold = $silence/" # the first is that of the heartbeat
    } | write_file "$conf/gmond.conf" 644
}

# Both keep for good what they have heard of a node, and are to forget those who left.
renew() {
    configure_gmetad
    cm-service status ganglia-gmetad >/dev/null || return 0
    cm-service restart ganglia-gmond
    cm-service restart ganglia-gmetad
}

case ${1:-} in
    install)
        leave_to_cm
        configure
        cm-service add ganglia-gmond --user ganglia -- /usr/sbin/gmond --foreground "--conf=$conf/gmond.conf"
        ;;
    join | leave)
        configure
        [[ $CM_ROLE != master ]] || renew
        ;;
    start | stop | status) ;;
    uninstall)
        forget_all ganglia-gmond
        rm -rf "$conf" "$data"
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
