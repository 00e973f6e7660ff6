# shellcheck shell=bash
# Whose rights a script on a node works with. Sourced by what runs there as root.

# as_user USER FUNCTION [ARGUMENT]...: runs a function of these scripts with a user's rights, HOME set, for what lies in that
# user's folders: links that lead elsewhere gain nothing, whenever they appear.
as_user() {
    local name=$1 uid gid home
    shift
    IFS=: read -r _ _ uid gid _ home _ < <(getent passwd "$name") || {
        echo "there is no user $name" >&2
        return 1
    }
    if ((uid == EUID)); then
        (set -e && HOME=$home && "$@")
    else
        HOME=$home setpriv --reuid="$uid" --regid="$gid" --init-groups \
            bash -c "set -euo pipefail; $(declare -f); \"\$@\"" bash "$@" 9<&-
    fi
}
