# shellcheck shell=bash disable=SC2034
# What `take-machine` and `give-back` know of a machine that was there before its cluster. Sourced after blocks.sh.

own=/var/lib/cm
mark=$own/machine      # "CLUSTER NODE USER [ID]": whose machine it is; the first file to come and the last to go
before=$own/before     # what was there before: copies of the files below, and a list of what was not there
# Files that others write to as well: only our lines go again.
shared_files=(/etc/hosts /etc/ssh/ssh_known_hosts /etc/rc.local)
# What is ours alone, unless it was there before.
own_paths=(/usr/local/lib/cm /usr/local/sbin/cm-service /usr/local/sbin/cm-firewall /var/cache/cm /var/log/cm /run/cm)

home_of() { # USER; sets `home`
    IFS=: read -r _ _ _ _ _ home _ < <(getent passwd "$1")
}

missing() { # PATH...: prints those that are not there
    local path
    for path; do [[ -e $path ]] || printf '%s\n' "$path"; done
}

# without_ours CLUSTER: copies stdin without anything that cm writes into shared files, for comparing too.
without_ours() {
    without_block "$1" | without_block "$1/login" | sed '/^# BEGIN cm-service$/,/^# END cm-service$/d'
}
