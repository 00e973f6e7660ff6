#!/bin/sh
# ZooKeeper's command line, connected to the ensemble unless -server says otherwise.
exec java -Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
    -cp '/opt/zookeeper/lib/*' org.apache.zookeeper.ZooKeeperMain -server "$(cat /etc/zookeeper/servers)" "$@"
