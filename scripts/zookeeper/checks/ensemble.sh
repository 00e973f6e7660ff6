#!/bin/bash
# The ensemble is the servers that there shall be, one of them leads, and what is written through the last is read through each.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

mapfile -t all < <(servers)
modes=$(for server in "${all[@]}"; do mode_of "$server" || die "$server has no quorum"; done | sort | uniq -c | xargs)
expected='1 leader'
((${#all[@]} == 1)) || expected="$((${#all[@]} - 1)) follower 1 leader"
[[ $modes == "$expected" ]] || die "there are $modes, expected $expected"

wanted=$(for server in "${all[@]}"; do address_of "$server"; done | sort)
present=$(members "$CM_NODE:2181" | cut -d ' ' -f 2 | sort)
[[ $present == "$wanted" ]] || die "members are ${present//$'\n'/ }, expected ${wanted//$'\n'/ }"

# One process asks all, since each costs a second.
value=cm-$RANDOM$RANDOM path=/cm-check-$$
ask() {
    local server
    echo "create $path $value"
    for server in "${all[@]}"; do printf 'connect %s:2181\nsync %s\nget %s\n' "$server" "$path" "$path"; done
    echo "delete $path"
}
said=$(ask | timeout "$timeout" "$home/bin/zkCli.sh" -server "${all[-1]}:2181" 2>&1) || die "$said"
read=$(grep -c "$value\$" <<<"$said")
((read == ${#all[@]})) || die "read through $read of ${#all[@]} servers: $said"
say "${#all[@]} servers, one leader, written through ${all[-1]} and read through each"
