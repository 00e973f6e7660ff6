# shellcheck shell=bash
# Shared by the role scripts and the checks of this plugin; sourced, never run.
# shellcheck disable=SC2034  # what is not used here is used there
# shellcheck source-path=SCRIPTDIR/../boot source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "${BASH_SOURCE[0]}")/../plugin.sh"

home=/opt/spark       # SPARK_HOME
conf=/etc/spark       # SPARK_CONF_DIR
data=/var/lib/spark
master_url=spark://$CM_MASTER:7077
export SPARK_HOME=$home SPARK_CONF_DIR=$conf

# What the jobs of the checks have in common: they end before the second compiler of Java pays off.
small_job=(--conf spark.ui.enabled=false --conf spark.executor.memory=512m
    --conf "spark.executor.extraJavaOptions=-XX:+UseSerialGC -XX:TieredStopAtLevel=1")

# As the daemons' user, with a home that it may write to.
as_spark() { as spark env HOME="$data" "$@"; }

# The hosts of the workers that the master takes for alive.
workers() {
    http GET "$CM_MASTER" 8080 /json/ |
        awk -F '"' '$2 == "host" { host = $4 } $2 == "state" && $4 == "ALIVE" { print host }'
}
