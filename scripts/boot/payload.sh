# shellcheck shell=bash
# What the client sends behind a script on its standard input: sections "== NAME", the last one "== end".

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
