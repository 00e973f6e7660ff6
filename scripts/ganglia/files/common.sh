# shellcheck shell=bash
# Shared by the role scripts and the checks of this plugin; sourced, never run.
# shellcheck disable=SC2034  # what is not used here is used there
# shellcheck source-path=SCRIPTDIR/../boot source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "${BASH_SOURCE[0]}")/../plugin.sh"

# Debian's own folders have Debian's own files.
conf=/etc/cm-ganglia
data=/var/lib/cm-ganglia

# Who may send to gmond and read what it has, and who may read what gmetad has.
addresses() { for node in $CM_NODES; do address_of "$node"; done; }

# gmetad listens on all addresses and has no setting for it; it hangs up on those whom it does not trust.
configure_gmetad() {
    install -d -m 755 -o ganglia -g ganglia "$data"
    folders_as ganglia 755 "$data/rrds"
    write_file "$conf/gmetad.conf" 644 <<END
# Written by the plugin ganglia of cm, and written anew by it: use the settings of the plugin.
data_source "$CM_CLUSTER" 2 $CM_MASTER_IP:8649
gridname "$CM_CLUSTER"
trusted_hosts 127.0.0.1 $(addresses | xargs)
setuid off
rrd_rootdir "$data/rrds"
# Every 2 seconds for two hours, every minute for a week, every hour for a year.
RRAs "RRA:AVERAGE:0.5:1:3600" "RRA:AVERAGE:0.5:30:10080" "RRA:AVERAGE:0.5:1800:8760"
END
}
