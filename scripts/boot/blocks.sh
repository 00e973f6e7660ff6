# shellcheck shell=bash
# Marked blocks, one per cluster, in files that others write to as well. Sourced by what runs on nodes.

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

# replace_file FILE MODE OWNER: makes stdin the content of FILE in one rename.
replace_file() {
    local file=$1 mode=$2 owner=$3 new
    new=$(mktemp "$file.cm.XXXXXX")
    if cat >"$new" && chmod "$mode" "$new" && chown "$owner" "$new" && mv -fT "$new" "$file"; then
        return 0
    fi
    rm -f "$new"
    return 1
}

# replace_block FILE MODE OWNER CLUSTER BLOCK
replace_block() {
    local file=$1 kept=""
    if [[ -s $file ]]; then kept=$(without_block "$4" <"$file"); fi
    printf '%s' "${kept:+$kept$'\n'}$5"$'\n' | replace_file "$file" "$2" "$3"
}

# replace_hosts CLUSTER BLOCK
replace_hosts() {
    local kept=""
    if [[ -s /etc/hosts ]]; then kept=$(without_block "$1" </etc/hosts | without_loopback_names "$1"); fi
    printf '%s' "${kept:+$kept$'\n'}$2"$'\n' | replace_file /etc/hosts 0644 root:root
}
