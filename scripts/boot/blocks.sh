# shellcheck shell=bash
# Marked blocks, one per cluster, in files that others write to as well. Sourced by what runs on nodes.
# Many nodes may share a machine's processors, so what can be done without another process is.

# without_block CLUSTER: copies stdin without the cluster's block; a marker without its counterpart costs nothing else.
without_block() {
    awk -v begin="# BEGIN cm $1" -v end="# END cm $1" '
        $0 == begin         { printf "%s", held; held = $0 ORS; inside = 1; next }
        inside && $0 == end { held = ""; inside = 0; next }
        inside              { held = held $0 ORS; next }
                            { print }
        END                 { printf "%s", held }'
}

# without_loopback_names CLUSTER: copies a hosts file without the cluster's names on loopback addresses; images map
# 127.0.1.1 to the node itself, and servers would then listen where no other node can reach them.
without_loopback_names() {
    awk -v full="^$1-(master|worker-[0-9]+)([.].*)?$" -v short="^(master|worker-[0-9]+)([.].*)?$" '
        $1 !~ /^(127[.]|::1$)/ { print; next }
        {
            names = ""
            for (i = 2; i <= NF; i++) if ($i !~ full && $i !~ short) names = names " " $i
            if (names != "") print $1 names
        }'
}

# read_text FILE: sets `text` to its content, ending with a newline; empty when there is no such file.
read_text() {
    text=""
    if [[ -s $1 ]]; then IFS= read -r -d '' text <"$1" || true; fi
    if [[ -n $text && $text != *$'\n' ]]; then text+=$'\n'; fi
}

# replace_file FILE MASK OWNER TEXT: makes TEXT the content of FILE in one rename; MASK is a umask.
replace_file() {
    local new=$1.cm.$$.$RANDOM
    if (umask "$2" && set -o noclobber && printf '%s' "$4" >"$new") && chown "$3" "$new" && mv -fT "$new" "$1"; then
        return 0
    fi
    rm -f "$new"
    return 1
}

# drop_block CLUSTER: takes the cluster's block out of `text`.
drop_block() {
    if [[ $text == *"# BEGIN cm $1"* ]]; then
        text=$(without_block "$1" <<<"${text%$'\n'}")
        text+=${text:+$'\n'}
    fi
}

# replace_block FILE MASK OWNER CLUSTER BLOCK
replace_block() {
    local text
    read_text "$1"
    drop_block "$4"
    replace_file "$1" "$2" "$3" "$text${5%$'\n'}"$'\n'
}

# replace_hosts CLUSTER BLOCK
replace_hosts() {
    local text loopback=$'(^|\n)(127\\.|::1)[^\n]*[ \t](master|worker-|'"$1-)"
    read_text /etc/hosts
    drop_block "$1"
    if [[ $text =~ $loopback ]]; then text=$(without_loopback_names "$1" <<<"${text%$'\n'}")$'\n'; fi
    replace_file /etc/hosts 022 root:root "$text${2%$'\n'}"$'\n'
}
