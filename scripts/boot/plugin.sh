# shellcheck shell=bash
# What role scripts and checks of plugins share: cm puts it, with settings.sh, into the folder of each plugin on the nodes.
# shellcheck disable=SC2034  # what is not used here is used there
set -euo pipefail
umask 022
export PATH=/usr/local/sbin:/usr/local/bin:$PATH # sudo may leave these out

plugin=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
source "$plugin/settings.sh"
# Settings that are secrets are root's alone; whoever else sources this does without.
# shellcheck source=/dev/null
if [[ -r $plugin/secrets/_settings.sh ]]; then source "$plugin/secrets/_settings.sh"; fi
start_timeout=${CM_SETTING_START_TIMEOUT:-120} start_timeout=${start_timeout%.*}  # bash knows whole seconds only
leave_timeout=${CM_SETTING_LEAVE_TIMEOUT:-300} leave_timeout=${leave_timeout%.*}
dead_after=${CM_SETTING_DEAD_AFTER:-8} dead_after=${dead_after%.*}
user=${CM_USER:-cm} # the login user

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${plugin##*/}" "$*" >&2
    exit 1
}

# between LOW VALUE HIGH
between() { echo $(($2 < $1 ? $1 : $2 > $3 ? $3 : $2)); }

# address_of NODE: its private address, which the hosts block names on every node.
address_of() { getent ahostsv4 "$1" | head -n 1 | cut -d ' ' -f 1; }

# Root follows no path that somebody else may write. What lies in a folder of a service's user is made, changed and read as
# that user: folders_as, write_as, as. write_file and unpack_payload refuse such folders; `make lint` looks for the rest.

# roots_own PATH: whether nobody but root decides what PATH leads to: all folders and links on the way are root's alone.
roots_own() {
    { namei -l -- "$1" 2>/dev/null || true; } | awk '
        length($1) == 10 && $1 ~ /^[dl][-rwxsStT]+$/ && $NF != "/" {
            if ($2 != "root") exit 1
            if ($1 ~ /^d/ && (substr($1, 9, 1) == "w" || substr($1, 6, 1) == "w" && $3 !~ /^(root|staff)$/)) exit 1
        }'
}

# refuse_foreign PATH
refuse_foreign() { roots_own "${1%/*}/" || die "$1: others than root may write to a folder above it"; }

# write_file PATH MODE [OWNER]: content on stdin; whole or not at all; in folders of root's only
write_file() {
    refuse_foreign "$1"
    mkdir -p "${1%/*}"
    (umask 077 && cat >"$1.new")
    [[ -z ${3:-} ]] || chown "$3" "$1.new"
    chmod "$2" "$1.new"
    mv -f "$1.new" "$1"
}

# make_user NAME HOME: a user of the system who owns its home and nothing else; HOME lies in a folder of root's
make_user() {
    id -u "$1" >/dev/null 2>&1 ||
        useradd --system --user-group --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
    install -d -m 750 -o "$1" -g "$1" "$2"
}

# add_to_group GROUP USER...: those who exist
add_to_group() {
    local group=$1 name
    shift
    for name; do
        if id -u "$name" >/dev/null 2>&1; then usermod --append --groups "$group" "$name"; fi
    done
}

forget_user() {
    userdel "$1" 2>/dev/null || true
    groupdel "$1" 2>/dev/null || true
}

# folders_as USER MODE PATH...: with the user's rights; those that are there stay as they are
folders_as() {
    # shellcheck disable=SC2016  # expanded there
    as "$1" sh -c 'mode=$1 && shift && for each; do [ -d "$each" ] || install -d -m "$mode" -- "$each" || exit; done' sh "${@:2}"
}

# write_as USER PATH MODE: content on stdin; whole or not at all; with the user's rights, who then owns it
write_as() {
    # shellcheck disable=SC2016  # expanded there
    as "$1" sh -c 'umask 077 && mkdir -p "${1%/*}" && cat >"$1.new" && chmod "$2" "$1.new" && mv -fT "$1.new" "$1"' sh "$2" "$3"
}

# as USER COMMAND...
as() {
    local name=$1
    shift
    setpriv --reuid="$name" --regid="$(id -g "$name")" --init-groups env HOME=/tmp USER="$name" "$@"
}

# unpack_payload FOLDER: makes FOLDER what the payload holds, if it isn't yet; the archive goes, its files are there twice
unpack_payload() {
    refuse_foreign "$1"
    local archives=/var/cache/cm/payloads/${plugin##*/} payload
    mkdir -p "$archives"
    payload=$(find "$archives" -name '*.tar' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
    if [[ -z $payload ]]; then
        [[ -e $1/.payload ]] || die "there is no archive in $archives"
        return
    fi
    if [[ ! -e $1/.payload || $(<"$1/.payload") != "${payload##*/}" ]]; then
        rm -rf "$1.new"
        mkdir -p "$1.new"
        tar -xf "$payload" -C "$1.new" --no-same-owner
        echo "${payload##*/}" >"$1.new/.payload"
        rm -rf "$1"
        mv "$1.new" "$1"
    fi
    rm -f "$archives"/*.tar
}

# --- waiting -----------------------------------------------------------------------------------------------------

# wait_until SECONDS WORDS COMMAND...: tries COMMAND until it succeeds; fails with "WORDS" at the deadline.
wait_until() {
    local deadline=$((SECONDS + $1)) words=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            say "${plugin##*/}: $words: not within the time given" >&2
            return 1
        fi
        sleep 0.2
    done
}

listens() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

silent() { # HOST PORT: whether nobody accepts connections there for some seconds
    local _
    for _ in 1 2 3 4 5; do
        ! listens "$1" "$2" || return 1
        sleep 1
    done
}

# wait_with DAEMONS SECONDS WORDS COMMAND...: as wait_until, while these daemons live: services of this node, and HOST:PORT of
# another one. When one has ended, waiting ends with the end of its log and the reason.
wait_with() {
    local daemons=$1 deadline=$((SECONDS + $2)) words=$3 each
    shift 3
    until "$@" >/dev/null 2>&1; do
        for each in $daemons; do
            if [[ $each != *:* ]]; then
                cm-service status "$each" >/dev/null || { tell_end "$each" "$words"; return 1; }
            elif silent "${each%:*}" "${each#*:}"; then
                say "${plugin##*/}: $words: nobody answers at $each" >&2
                return 1
            fi
        done
        if ((SECONDS >= deadline)); then
            for each in $daemons; do [[ $each == *:* ]] || show_log "$each"; done
            say "${plugin##*/}: $words: not within the time given" >&2
            return 1
        fi
        sleep 0.2
    done
}

# --- services ----------------------------------------------------------------------------------------------------

log_of() { # the end of what a service said
    if [[ -d /run/systemd/system ]]; then journalctl -qu "cm-$1" -n 30 --no-pager; else tail -n 30 "/var/log/cm/$1.log"; fi
}

show_log() {
    say "the end of the log of $1:" >&2
    log_of "$1" >&2 || true
}

reason_of() { # the line of a service's log that says why it ended: its last error, else its last line
    local log
    log=$(log_of "$1" 2>/dev/null | grep -Ev '^[[:space:]]*(at |$)' || true)
    { grep -E '(^|[^[:alnum:]])(FATAL|CRITICAL|ERROR|[Ee]rror)([^[:alnum:]]|$)|[[:alnum:]](Exception|Error)([^[:alnum:]]|$)' <<<"$log" || echo "$log"; } |
        tail -n 1
}

tell_end() { # SERVICE [WORDS]: shows the end of its log, then why it ended; what comes last is what users read first
    show_log "$1"
    say "${plugin##*/}: ${2:+$2: }$1 has ended on $CM_NODE: $(reason_of "$1")" >&2
}

# require SERVICE...: for checks: ends with a status of its own, which says that no waiting helps, when a service has ended
require() {
    local service
    for service in "$@"; do
        cm-service status "$service" >/dev/null || { tell_end "$service"; exit 69; }
    done
}

# serve SERVICE PORT: waits until a service of this node accepts connections, and gives up at once when it has ended.
serve() {
    wait_with "$1" "$start_timeout" "$CM_NODE serves port $2" listens "$CM_NODE" "$2" || return 1
    say "$1 serves on $CM_NODE:$2"
}

# start_all SERVICE PORT [SERVICE PORT]...: starts side by side, then waits for each.
start_all() {
    local words=("$@")
    while (($#)); do
        cm-service start "$1"
        shift 2
    done
    set -- "${words[@]}"
    while (($#)); do
        serve "$1" "$2"
        shift 2
    done
}

stop_all() { # side by side too; fails when one could not be stopped, after all have been tried
    local service failed=0 stopping=()
    for service in "$@"; do
        cm-service status "$service" >/dev/null 2>&1 || continue
        cm-service stop "$service" &
        stopping+=($!)
    done
    for service in "${stopping[@]}"; do wait "$service" || failed=1; done
    return "$failed"
}

# states SERVICE...: a line each; fails when one is down.
states() {
    local service down=0
    for service in "$@"; do
        cm-service status "$service" || down=1
    done
    return "$down"
}

forget_all() {
    local service
    for service in "$@"; do cm-service remove "$service"; done
}

# --- HTTP with bash alone ----------------------------------------------------------------------------------------

# http METHOD HOST PORT PATH [TEXT [TYPE]]: prints the answer's body; fails unless it is 2xx. A text is JSON, if no type says otherwise.
http() {
    local status line
    {
        exec 3<>"/dev/tcp/$2/$3"
    } 2>/dev/null || return 1
    printf '%s %s HTTP/1.0\r\nHost: %s:%s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
        "$1" "$4" "$2" "$3" "${6:-application/json}" "$(printf %s "${5:-}" | wc -c)" "${5:-}" >&3
    status="HTTP/1.1 100" # some services first say that they go on
    while [[ $status == HTTP/1.?\ 1* ]]; do
        IFS= read -r -t 20 status <&3 || return 1
        while IFS= read -r -t 20 line <&3 && [[ $line != $'\r' ]]; do :; done
    done
    timeout 20 cat <&3
    exec 3<&- 3>&-
    [[ $status == HTTP/1.?\ 2* ]]
}
