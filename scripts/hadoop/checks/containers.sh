#!/bin/bash
# Lets YARN run a container on every worker at once with nothing but what is on the nodes: Hadoop's distributed shell, without
# its own client, which would put files where all nodes find them. The NodeManagers themselves say what they run.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"
# shellcheck source=/dev/null
source "$conf/hadoop-env.sh"

api() { http "$1" "$CM_MASTER" 8088 "/ws/v1/cluster/apps/$2" "${3:-}"; }
field() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; } # of JSON in one line

offered=$(sed -n 's|.*<name>yarn.nodemanager.resource.memory-mb</name><value>\([0-9]*\).*|\1|p' "$conf/yarn-site.xml" | tail -n 1)
each=$(((offered / 128 + 1) * 64)) # so that no worker has room for two
workers=$(wc -w <<<"$CM_WORKERS")
# What the shell shall run it reads as Java writes texts: the length comes first, in two bytes.
master="printf '\\\\000\\\\007sleep 5' >shellCommands && exec $JAVA_HOME/bin/java -Xmx64m $HADOOP_OPTS -cp $conf:$home/lib/* \
org.apache.hadoop.yarn.applications.distributedshell.ApplicationMaster --num_containers $workers --container_memory $each \
--container_vcores 1 --priority 0 >'<LOG_DIR>/stdout' 2>'<LOG_DIR>/stderr'"

app=$(api POST new-application | field application-id)
[[ -n $app ]] || die "YARN gives no application"
api POST '' "{\"application-id\":\"$app\",\"application-name\":\"check of cm\",\"application-type\":\"YARN\",\"max-app-attempts\":1,
\"resource\":{\"memory\":192,\"vCores\":1},\"am-container-spec\":{\"commands\":{\"command\":\"$master\"}}}" ||
    die "YARN refuses the application"
trap 'api PUT "$app/state" "{\"state\":\"KILLED\"}" >/dev/null || true' EXIT

declare -A ran=()
state=''
until [[ $state =~ ^(FINISHED|FAILED|KILLED)$ ]]; do
    sleep 0.2
    for worker in $CM_WORKERS; do # number 1 is the application's master
        [[ -z ${ran[$worker]:-} ]] || continue
        running=$(http GET "$worker" 8042 "/ws/v1/node/apps/$app") || continue
        [[ ! $running =~ container_[0-9_]+_0*([2-9]|[1-9][0-9]+)\" ]] || ran[$worker]=yes
    done
    answer=$(api GET "$app")
    state=$(field state <<<"$answer")
done
[[ $(field finalStatus <<<"$answer") == SUCCEEDED ]] || die "$app: $(field diagnostics <<<"$answer")"
((${#ran[@]} == workers)) || die "containers ran on ${!ran[*]} only"
say "containers ran on $(tr ' ' '\n' <<<"${!ran[*]}" | sort | paste -sd ' ')"
