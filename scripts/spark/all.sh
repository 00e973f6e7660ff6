#!/bin/bash
# What every node has: the user, Spark, its commands, the configuration.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

java_home() {
    local java=${CM_SETTING_JAVA_HOME:+$CM_SETTING_JAVA_HOME/bin/java}
    java=$(readlink -f "${java:-$(command -v java)}") || die "there is no java on $CM_NODE: is the package openjdk-17-jre-headless installed?"
    printf '%s\n' "${java%/bin/java}"
}

install_spark() {
    local tool
    make_user spark "$data"
    add_to_group spark "$user" notebook hadoop
    folders_as spark 1777 "$data/work" "$data/scratch"
    chmod 755 "$data"
    unpack_payload "$home"
    chmod 755 "$home"/bin/* "$home"/sbin/*
    for tool in pyspark spark-submit spark-shell spark-sql; do
        printf '#!/bin/sh\nexport SPARK_HOME=%s SPARK_CONF_DIR=%s\nexec %s/bin/%s "$@"\n' "$home" "$conf" "$home" "$tool" |
            write_file "/usr/local/bin/$tool" 755
    done
    ln -sfn "$conf" "$home/conf" # where Spark looks that nobody has told of SPARK_CONF_DIR: `python3 job.py`, notebooks
    # `import pyspark` works in the system's Python.
    for tool in /usr/lib/python3.*/; do
        [[ $tool =~ python(3\.[0-9]+)/$ ]] || continue
        printf '%s\n' "$home/python" "$home"/python/lib/py4j-*-src.zip |
            write_file "/usr/local/lib/python${BASH_REMATCH[1]}/dist-packages/cm-spark.pth" 644
    done
}

# These settings travel with a job, so nothing in them is this node's own: that is in spark-env.sh. Workers have no pyarrow, which
# Python functions of a user would need by default.
# Sizes in MiB. What a worker has left after its daemon and the system belongs to executors, one a worker for each application
# unless it asks for less; heap and what Java and Python take beside it.
configure() {
    local address worker_memory executor overhead silence
    address=$(address_of "$CM_NODE")
    worker_memory=$(between 640 $((CM_WORKER_MEMORY_MB - 256 - CM_WORKER_MEMORY_MB / 8)) 1048576)
    overhead=$(between 128 $((worker_memory / 4)) 8192)
    executor=$(between 512 $((worker_memory - overhead)) 1048576) # with less Spark does not begin
    # The master looks that often whether it has heard of each worker for as long, so it takes up to twice that.
    silence=$(between 2 $((dead_after * 5 / 8)) 3600)
    write_file "$conf/spark-env.sh" 644 <<END
# Written by the plugin spark of cm, and written anew by it: use the settings of the plugin.
JAVA_HOME=$(java_home)
SPARK_LOCAL_IP=$address
SPARK_LOCAL_HOSTNAME=$CM_NODE
SPARK_PUBLIC_DNS=$CM_NODE
SPARK_DAEMON_MEMORY=\${SPARK_DAEMON_MEMORY:-192m}
SPARK_NO_DAEMONIZE=1
SPARK_LOCAL_DIRS=$data/scratch
SPARK_WORKER_DIR=$data/work
SPARK_WORKER_CORES=$CM_WORKER_CPUS
SPARK_WORKER_MEMORY=${worker_memory}m
SPARK_DAEMON_JAVA_OPTS="-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
SPARK_MASTER_OPTS="-Dspark.worker.timeout=$silence -Dspark.deploy.maxExecutorRetries=-1 -Dspark.master.rest.enabled=false"
SPARK_WORKER_OPTS="-Dspark.worker.timeout=$silence -Dspark.worker.cleanup.enabled=true"
[ ! -d /etc/hadoop ] || HADOOP_CONF_DIR=/etc/hadoop
END
    {
        cat <<END
# Written by the plugin spark of cm, and written anew by it: use the settings of the plugin.
spark.master $master_url
spark.driver.memory 512m
spark.executor.memory ${executor}m
spark.executor.memoryOverhead ${overhead}m
spark.network.timeout 60s
spark.network.timeoutInterval 10s
spark.executor.heartbeatInterval 2s
spark.decommission.enabled true
spark.storage.decommission.enabled true
spark.storage.decommission.shuffleBlocks.enabled true
spark.storage.decommission.rddBlocks.enabled true
spark.executor.extraJavaOptions -XX:+UseSerialGC
spark.driver.extraJavaOptions -XX:+UseSerialGC -XX:TieredStopAtLevel=1
spark.yarn.jars local:$home/jars/*
spark.pyspark.python python3
spark.sql.execution.pythonUDF.arrow.enabled false
spark.sql.warehouse.dir $data/warehouse
spark.ui.showConsoleProgress false
spark.authenticate true
spark.authenticate.secret $(<"$plugin/secrets/auth")
END
        tr ';' '\n' <<<"$CM_SETTING_SPARK_DEFAULTS" | sed 's/=/ /'
    } | write_file "$conf/spark-defaults.conf" 640 root:spark
    write_file "$conf/log4j2.properties" 644 <"$plugin/files/log4j2.properties"
    folders_as spark 1777 "$data/warehouse"
}

case ${1:-} in
    install)
        install_spark
        configure
        ;;
    join | leave) configure ;;
    start | stop | status) ;;
    uninstall)
        rm -rf "$home" "$conf" "$data" /usr/local/bin/{pyspark,spark-submit,spark-shell,spark-sql,run-example}
        rm -f /usr/local/lib/python3.*/dist-packages/cm-spark.pth
        forget_user spark
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
