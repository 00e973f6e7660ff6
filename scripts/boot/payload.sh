# shellcheck shell=bash
# What the client sends behind a script on its standard input: sections "== NAME", the last one "== end".

# alone: waits until no other of these programs is at work on the node, such as one that a killed client has left behind.
# It keeps descriptor 9, which nothing that outlives this program may inherit. No other user may open the folder.
alone() {
    exec 9</root
    flock 9
}

# read_payload: fills the associative array `sections`; fails when it was cut off on its way.
read_payload() {
    local payload line name="" IFS=$'\n'
    read -rN 16777216 payload || true # mapfile reads a pipe byte by byte
    [[ $payload == *$'\n== end\n' ]] || {
        echo "the input was cut off" >&2
        return 1
    }
    set -f
    for line in $payload; do
        # shellcheck disable=SC2004  # no number: the array is associative
        case $line in
            "== "*) name=${line#== } ;;
            *) sections[$name]+=$line$'\n' ;;
        esac
    done
    set +f
}
