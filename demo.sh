#!/usr/bin/env bash
# A verified Hadoop cluster on this machine: makes it the first time, proves it again every other time. Where no source of
# Hadoop can be reached, Spark, for which PyPI is enough.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cm=$here/.venv/bin/cm
name=hadoop

# Prints the state of the cluster; nothing where there is none.
state_of() {
  "$cm" cluster list -f json | "$here/.venv/bin/python" -c '
import json, sys
print(*[row["state"] for row in json.load(sys.stdin) if row["name"] == sys.argv[1]])' "$name"
}

run() {
  printf '\n$ cm %s\n' "$*"
  "$cm" "$@" </dev/null
}

state=$(state_of)
try='hdfs dfs -ls /'
if [[ -z $state ]] && ! "$cm" plugin fetch "$name" </dev/null; then
  echo
  echo "No source of Hadoop can be reached from here, for the reason above. The same is shown with Spark, which comes from PyPI."
  name=spark
  try='spark-submit /opt/spark/examples/src/main/python/pi.py 4'
  state=$(state_of)
fi
case $state in
  "") run cluster create "$name" ;;
  ready)
    echo "The cluster $name is there already; proving it again."
    run cluster verify "$name"
    ;;
  stopped | degraded | unhealthy)
    echo "The cluster $name is $state; starting and proving it."
    run cluster start "$name"
    run cluster verify "$name"
    ;;
  *)
    echo "The cluster $name is in the state '$state'; finishing what was begun."
    run cluster resume "$name" -y
    # It may have been a delete that was finished.
    if [[ -n $(state_of) ]]; then run cluster verify "$name"; else run cluster create "$name"; fi
    ;;
esac

cat <<END

The cluster is up. Next (with $here/.venv/bin on your PATH):

  cm cluster ssh $name                                  log in to the master
  cm cluster cmd $name -t worker -- uptime              run a command on all workers
  cm cluster ssh $name -- $try
  cm cluster status $name $name                        what its services say
  cm cluster open $name $name                          its pages in your browser
  cm cluster delete $name -y                            remove it, to the last process
END
