#!/bin/bash
# The master: the controller, and the connection file of who may use it.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

add() {
    # Silent engines are forgotten when they have missed that many heartbeats, one a second.
    cm-service add ipyparallel-controller --user ipyparallel -- "$home/bin/python" -m ipyparallel.controller \
        "--profile-dir=$profile" --log-level=WARN --IPController.reuse_files=True --nodb \
        --HeartMonitor.period=1000 "--HeartMonitor.max_heartmonitor_misses=$(between 2 "$dead_after" 3600)"
}

# The login user has the connection file where `ipyparallel.Client()` looks for it; so have notebooks, where there are any.
users() { for name in "$user" notebook; do ! id -u "$name" >/dev/null 2>&1 || echo "$name"; done; }
folder=.ipython/profile_default/security
file_of() { echo "$(getent passwd "$1" | cut -d : -f 6)/$folder/${connection##*/}"; }
is_ours() { as "$1" cat "$2" 2>/dev/null | grep -qF -f "$plugin/secrets/key"; } # USER FILE

hand_out() {
    local name file
    for name in $(users); do
        file=$(file_of "$name")
        if [[ -e $file ]] && ! is_ours "$name" "$file"; then
            say "$file is another controller's, and stays as it is"
            continue
        fi
        as ipyparallel cat "$connection" | write_as "$name" "$file" 600
    done
}

take_back() {
    local name file
    for name in $(users); do
        file=$(file_of "$name")
        is_ours "$name" "$file" || continue
        # shellcheck disable=SC2016  # expanded there
        as "$name" sh -c 'rm -f "$1" && cd "${1%/"$2"/*}" && rmdir -p --ignore-fail-on-non-empty "$2"' sh "$file" "$folder"
    done
}

case ${1:-} in
    install)
        add
        hand_out
        ;;
    start)
        hand_out
        start_all ipyparallel-controller 10101
        ;;
    stop) stop_all ipyparallel-controller ;;
    status)
        states ipyparallel-controller
        client files/registered.py "$(expected)"
        ;;
    join | leave) ;;
    uninstall)
        forget_all ipyparallel-controller
        take_back
        ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
