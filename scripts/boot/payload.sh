# shellcheck shell=bash
# What the client sends behind a script on its standard input: sections "== NAME", the last one "== end".

# read_payload: fails when it was cut off on its way.
read_payload() {
    payload=$'\n'$(cat)
    [[ $payload == *$'\n== end' ]] || {
        echo "the input was cut off" >&2
        return 1
    }
}

# section NAME: prints it without the newline at its end.
section() {
    local text=${payload#*$'\n'"== $1"$'\n'}
    [[ $text != "$payload" ]] || return 0
    printf '%s' "${text%%$'\n== '*}"
}
