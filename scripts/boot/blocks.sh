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

# roots_own PATH: whether nobody but root decides what PATH leads to: all folders and links on the way are root's alone.
roots_own() {
    { namei -l -- "$1" 2>/dev/null || true; } | awk '
        length($1) == 10 && $1 ~ /^[dl][-rwxsStT]+$/ && $NF != "/" {
            if ($2 != "root") exit 1
            if ($1 ~ /^d/ && (substr($1, 9, 1) == "w" || substr($1, 6, 1) == "w" && $3 !~ /^(root|staff)$/)) exit 1
        }'
}

# replace_file FILE MASK TEXT: makes TEXT the content of FILE, whole or not at all. A file that is there stays what it is: a link
# to it, its owner, mode, ACLs and labels; MASK is the umask of a new one. A user's own files: by `as_user` only.
replace_file() {
    local file=$1 new
    if [[ -L $file ]]; then
        file=$(readlink -f -- "$file")
        if ((EUID == 0)) && ! roots_own "$file"; then
            echo "$1 leads to $file, which others than root may replace" >&2
            return 1
        fi
    fi
    new=$file.cm.$$.$RANDOM
    if (umask "$2" && set -o noclobber && printf '%s' "$3" >"$new") && put_in_place "$new" "$file"; then return 0; fi
    rm -f -- "$new"
    return 1
}

# put_in_place NEW FILE: in one rename; but a file of several names, or one that is mounted, can only be written to.
put_in_place() {
    if [[ ! -e $2 ]]; then
        mv -fT -- "$1" "$2"
        return
    fi
    if [[ ! -w $2 ]]; then
        echo "$2 is not to be written by $(id -un)" >&2
        return 1
    fi
    cp --attributes-only --preserve=all -T -- "$2" "$1" || return
    if [[ $(stat -c %h -- "$2") != 1 ]] || ! mv -fT -- "$1" "$2" 2>/dev/null; then
        cat <"$1" >"$2" && rm -f -- "$1"
    fi
}

# alone: waits until no other of these programs is at work on the node, such as one that a killed client has left behind.
# It keeps descriptor 9, which nothing that outlives this program may inherit. No other user may open the folder.
alone() {
    exec 9</root
    flock 9
}

# drop_block CLUSTER: takes the cluster's block out of `text`.
drop_block() {
    if [[ $text == *"# BEGIN cm $1"* ]]; then
        text=$(without_block "$1" <<<"${text%$'\n'}")
        text+=${text:+$'\n'}
    fi
}

# replace_block FILE MASK CLUSTER BLOCK
replace_block() {
    local text
    read_text "$1"
    drop_block "$3"
    replace_file "$1" "$2" "$text${4%$'\n'}"$'\n'
}

# replace_hosts CLUSTER BLOCK
replace_hosts() {
    local text loopback=$'(^|\n)(127\\.|::1)[^\n]*[ \t](master|worker-|'"$1-)"
    read_text /etc/hosts
    drop_block "$1"
    if [[ $text =~ $loopback ]]; then text=$(without_loopback_names "$1" <<<"${text%$'\n'}")$'\n'; fi
    replace_file /etc/hosts 022 "$text${2%$'\n'}"$'\n'
}
