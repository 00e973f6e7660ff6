# shellcheck shell=bash
# Shared by the role scripts and the checks of this plugin; sourced, never run.
# shellcheck disable=SC2034  # what is not used here is used there
# shellcheck source-path=SCRIPTDIR/../boot source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "${BASH_SOURCE[0]}")/../plugin.sh"

home=/opt/ipyparallel
data=/var/lib/ipyparallel
profile=$data/profile # what IPython calls a profile: a folder with security/, log/ and pid/
connection=$profile/security/ipcontroller-client.json
engines=$CM_SETTING_ENGINES
((engines > 0)) || engines=$CM_WORKER_CPUS

expected() { echo $((engines * $(wc -w <<<"$CM_WORKERS"))); }

mapfile -t services < <(seq -f 'ipyparallel-engine-%g' "$engines") # of a worker

# client PROGRAM ARGUMENT...: as the user of the controller, on the master
client() { (cd / && as ipyparallel env IPYTHONDIR="$data" timeout 100 "$home/bin/python" "$plugin/$1" "$connection" "${@:2}"); }
