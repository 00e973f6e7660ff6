# shellcheck shell=bash
# What the client sends behind a script on its standard input: sections "== NAME", the last one "== end".

# read_payload: fills the associative array `sections`; fails when it was cut off on its way.
read_payload() {
    local lines line name=""
    mapfile -t lines
    [[ ${#lines[@]} -gt 0 && ${lines[-1]} == "== end" ]] || {
        echo "the input was cut off" >&2
        return 1
    }
    for line in "${lines[@]}"; do
        # shellcheck disable=SC2004  # no number: the array is associative
        case $line in
            "== "*) name=${line#== } ;;
            *) sections[$name]+=$line$'\n' ;;
        esac
    done
}
