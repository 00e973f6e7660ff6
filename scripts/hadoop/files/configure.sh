# shellcheck shell=bash
# Writes Hadoop's configuration out of the sizes of the nodes; sourced by all.sh after common.sh.
# shellcheck disable=SC2154  # conf, data, logs, home and plugin come from there

# Sizes in MiB. What a worker has left after its daemons and the system belongs to YARN; a unit of it runs a task.
sizes() {
    local here=${CM_MEMORY_MB:-} own
    own=$(awk '$1 == "MemTotal:" { print int($2 / 1024) }' /proc/meminfo)
    memory=${here:-$own}
    worker_memory=${CM_WORKER_MEMORY_MB:-$own}
    worker_cpus=${CM_WORKER_CPUS:-$(nproc)}
    worker_cpus=$(between 1 "${worker_cpus%.*}" 1024)

    # Half of the master is heaps of its daemons, and a tenth of a worker.
    local of_master=3 of_worker=2
    if ! has hdfs || ! has yarn; then of_master=1 of_worker=1; fi
    master_heap=$(between 128 $((memory / 2 / of_master)) 8192)
    worker_heap=$(between 96 $((worker_memory / 10 / of_worker)) 1024)
    yarn_memory=$((worker_memory - of_worker * (worker_heap + 112) - worker_memory / 8))
    yarn_memory=$(between 512 $((yarn_memory / 64 * 64)) 1048576)
    yarn_cpus=$(between 2 "$worker_cpus" 1024)
    task=$(between 256 $((yarn_memory / yarn_cpus / 64 * 64)) 4096)
    task_heap=$((task * 3 / 4))
    app_master=$(between 256 $((yarn_memory / 8 / 64 * 64)) 1024)
    workers=$(wc -w <<<"$CM_WORKERS")
    replication=3
    ! has hdfs || replication=$(replication_for "$workers")
}

escaped() { # quoted, since a bare & in a replacement is what was found, from bash 5.2 on
    local text=${1//&/"&amp;"}
    text=${text//</"&lt;"}
    printf '%s' "${text//>/"&gt;"}"
}

# Properties of such names are for Hadoop's own user alone: keys and passwords of S3, Azure and databases.
secret_names='secret|passw(or)?d|(access|account)\.key|(session|sas)\.token'

property() { printf '<property><name>%s</name><value>%s</value></property>\n' "$(escaped "$1")" "$(escaped "$2")"; }

# site FILE EXTRA: properties as "name=value" lines on stdin and in EXTRA, of which the later one wins. Secret ones go into
# a file of that name in a folder where others see nothing: for them it isn't there, and the rest counts.
site() {
    local file=$conf/$1 secret=$conf/secret/$1 name value secrets=
    {
        echo '<?xml version="1.0"?>'
        echo '<!-- Written by the plugin hadoop of cm, and written anew by it: use the settings of the plugin. -->'
        echo '<configuration>'
        while IFS='=' read -r name value; do
            [[ -n $name && $name != '#'* ]] || continue
            if [[ ${name,,} =~ $secret_names ]]; then
                secrets+=$(property "$name" "$value")$'\n'
            else
                property "$name" "$value"
            fi
        done < <(cat && tr ';' '\n' <<<"$2")
        [[ -z $secrets ]] ||
            echo "<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"$secret\"><xi:fallback/></xi:include>"
        echo '</configuration>'
    } >"$file.new"
    if [[ -n $secrets ]]; then
        install -d -m 750 -o root -g hadoop "$conf/secret"
        printf '<configuration>\n%s</configuration>\n' "$secrets" | write_file "$secret" 640 root:hadoop
    else
        rm -f "$secret"
    fi
    chmod 644 "$file.new"
    mv -f "$file.new" "$file"
}

# Without HDFS every node has files of its own only, unless the setting core_site names what they share.
write_core() {
    local files=file:///
    ! has hdfs || files=hdfs://$CM_MASTER:8020
    site core-site.xml "$CM_SETTING_CORE_SITE" <<END
fs.defaultFS=$files
hadoop.tmp.dir=$data/tmp
hadoop.http.staticuser.user=hadoop
ipc.client.connect.max.retries=20
ipc.client.connect.retry.interval=500
ipc.server.listen.queue.size=1024
END
}

# A DataNode counts as dead after twice the recheck interval and ten heartbeats of the NameNode's own configuration, which
# alone are ten seconds or more: on the master the heartbeat is 0, so that only the recheck interval counts.
write_hdfs() {
    local beat=1
    [[ $CM_ROLE == worker ]] || beat=0
    site hdfs-site.xml "$CM_SETTING_HDFS_SITE" <<END
dfs.replication=$replication
dfs.namenode.name.dir=file://$data/name
dfs.datanode.data.dir=file://$data/data
dfs.namenode.rpc-address=$CM_MASTER:8020
dfs.namenode.http-address=$CM_MASTER:9870
dfs.namenode.secondary.http-address=$CM_MASTER:9868
dfs.datanode.hostname=$CM_NODE
dfs.datanode.address=$CM_NODE:9866
dfs.datanode.http.address=$CM_NODE:9864
dfs.datanode.ipc.address=$CM_NODE:9867
dfs.datanode.max.locked.memory=0
dfs.hosts=$conf/workers
dfs.hosts.exclude=$conf/leaving
dfs.heartbeat.interval=$beat
dfs.namenode.heartbeat.recheck-interval=$((silence / 2))
dfs.namenode.stale.datanode.interval=$((silence / 2))
dfs.namenode.avoid.read.stale.datanode=true
dfs.namenode.avoid.write.stale.datanode=true
dfs.namenode.redundancy.interval.seconds=1
dfs.namenode.decommission.interval=1
dfs.namenode.safemode.extension=0
dfs.namenode.handler.count=$(between 10 $((workers * 2)) 100)
dfs.namenode.datanode.registration.ip-hostname-check=false
dfs.client.block.write.replace-datanode-on-failure.policy=$( ((workers > 3)) && echo DEFAULT || echo NEVER)
dfs.permissions.superusergroup=hadoop
dfs.webhdfs.enabled=true
END
}

# Without control groups a NodeManager measures its containers only where their memory is not "enforced" (YARN-11967).
write_yarn() {
    site yarn-site.xml "$CM_SETTING_YARN_SITE" <<END
yarn.resourcemanager.hostname=$CM_MASTER
yarn.resourcemanager.nodes.include-path=$conf/workers
yarn.resourcemanager.nodes.exclude-path=$conf/leaving
yarn.resourcemanager.node-removal-untracked.timeout-ms=1000
yarn.resourcemanager.nodemanagers.heartbeat-interval-ms=500
yarn.nm.liveness-monitor.expiry-interval-ms=$((silence * 5 / 8))
yarn.nodemanager.hostname=$CM_NODE
yarn.nodemanager.address=$CM_NODE:8041
yarn.nodemanager.localizer.address=$CM_NODE:8040
yarn.nodemanager.webapp.address=$CM_NODE:8042
yarn.nodemanager.local-dirs=$data/yarn/local
yarn.nodemanager.log-dirs=$logs/containers
yarn.nodemanager.aux-services=mapreduce_shuffle
yarn.nodemanager.resource.memory-mb=$yarn_memory
yarn.nodemanager.resource.cpu-vcores=$yarn_cpus
yarn.nodemanager.vmem-check-enabled=false
yarn.nodemanager.resource.memory.enforced=false
yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage=98.0
yarn.nodemanager.env-whitelist=JAVA_HOME,HADOOP_HOME,HADOOP_CONF_DIR,PATH,LANG,TZ
yarn.nodemanager.sleep-delay-before-sigkill.ms=1000
yarn.scheduler.minimum-allocation-mb=64
yarn.scheduler.maximum-allocation-mb=$yarn_memory
yarn.scheduler.maximum-allocation-vcores=$yarn_cpus
yarn.scheduler.capacity.maximum-am-resource-percent=0.5
yarn.application.classpath=$conf,$home/lib/*
yarn.log-aggregation-enable=$(has hdfs && echo true || echo false)
yarn.nodemanager.remote-app-log-dir=/tmp/logs
$(! keeps_history || echo "yarn.log.server.url=http://$CM_MASTER:19888/jobhistory/logs")
yarn.acl.enable=true
yarn.admin.acl=hadoop,root,$user hadoop
END
    site mapred-site.xml "$CM_SETTING_MAPRED_SITE" <<END
mapreduce.framework.name=yarn
mapreduce.application.classpath=$conf:$home/lib/*
mapreduce.map.memory.mb=$task
mapreduce.reduce.memory.mb=$task
mapreduce.map.java.opts=-Xmx${task_heap}m $(java_options)
mapreduce.reduce.java.opts=-Xmx${task_heap}m $(java_options)
mapreduce.task.io.sort.mb=$(between 32 $((task_heap / 3)) 512)
mapreduce.shuffle.port=13562
yarn.app.mapreduce.am.resource.mb=$app_master
yarn.app.mapreduce.am.command-opts=-Xmx$((app_master * 2 / 3))m $(java_options)
yarn.app.mapreduce.am.staging-dir=/user
yarn.app.mapreduce.am.scheduler.heartbeat.interval-ms=250
mapreduce.client.submit.file.replication=$replication
mapreduce.client.completion.pollinterval=500
mapreduce.client.progressmonitor.pollinterval=500
mapreduce.jobhistory.address=$CM_MASTER:10020
mapreduce.jobhistory.webapp.address=$CM_MASTER:19888
mapreduce.jobhistory.admin.address=$CM_MASTER:10033
mapreduce.jobhistory.intermediate-done-dir=/mapreduce/intermediate
mapreduce.jobhistory.done-dir=/mapreduce/done
END
    site capacity-scheduler.xml "" <<END
yarn.scheduler.capacity.root.queues=default
yarn.scheduler.capacity.root.default.capacity=100
yarn.scheduler.capacity.root.default.state=RUNNING
yarn.scheduler.capacity.maximum-am-resource-percent=0.5
yarn.scheduler.capacity.resource-calculator=org.apache.hadoop.yarn.util.resource.DefaultResourceCalculator
END
}

write_configuration() {
    local silence=$((dead_after * 1000))
    sizes
    mkdir -p "$conf"
    write_core
    ! has hdfs || write_hdfs
    ! has yarn || write_yarn
    install -m 644 "$plugin/files/log4j.properties" "$conf/log4j.properties"
    # Without a realm Java asks the name servers for one, which takes ten seconds where none answers.
    printf '[libdefaults]\ndefault_realm = CM\ndns_lookup_realm = false\ndns_lookup_kdc = false\n' >"$conf/krb5.conf"
    write_environment
    touch "$conf/leaving"
    tr ' ' '\n' <<<"$CM_WORKERS" >"$conf/workers"
    chmod 644 "$conf/workers" "$conf/leaving" "$conf/krb5.conf"
}

# Java 17 keeps its own classes to itself unless told; C1 and the serial collector start fastest and are the smallest.
java_options() {
    printf '%s ' --add-opens=java.base/{java.lang,java.util,java.util.concurrent,java.nio,java.net,java.io}=ALL-UNNAMED \
        --add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED \
        -Djava.security.krb5.conf="$conf/krb5.conf" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Djava.net.preferIPv4Stack=true
}

write_environment() {
    cat >"$conf/hadoop-env.sh.new" <<END
# Written by the plugin hadoop.
export JAVA_HOME=${CM_SETTING_JAVA_HOME:-$(java_home)}
export HADOOP_HOME=$home HADOOP_CONF_DIR=$conf HADOOP_LOG_DIR=$logs
HADOOP_OPTS="$(java_options)\${HADOOP_OPTS:-}"
HADOOP_MASTER_HEAP=$master_heap
HADOOP_WORKER_HEAP=$worker_heap
END
    chmod 644 "$conf/hadoop-env.sh.new"
    mv -f "$conf/hadoop-env.sh.new" "$conf/hadoop-env.sh"
}

java_home() {
    local java
    java=$(readlink -f "$(command -v java)") || die "there is no java on $CM_NODE: is the package openjdk-17-jre-headless installed?"
    printf '%s\n' "${java%/bin/java}"
}
