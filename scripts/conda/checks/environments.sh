#!/bin/bash
# Every environment's link leads to one that was unpacked whole, and its Python, if it has one, runs.
set -euo pipefail
# shellcheck disable=SC1091  # written for each node
source "$(dirname "$0")/../settings.sh"
status=0
for link in "$CM_SETTING_INSTALL_PREFIX"/envs/*; do
    [[ -L $link ]] || continue
    if [[ ! -e $(readlink -f "$link").whole ]]; then
        echo "$link is not whole"
        status=1
    elif [[ -e $link/bin/python ]] && ! "$link/bin/python" -I -c ''; then
        echo "the Python of $link does not run"
        status=1
    fi
done
exit $status
