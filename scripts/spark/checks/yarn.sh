#!/bin/bash
# The same on YARN, with the text in HDFS, where the plugin hadoop is on the cluster, too; its parts hdfs and yarn are not enough.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

if [[ ! -e /etc/hadoop/yarn-site.xml || ! -e /etc/hadoop/hdfs-site.xml ]]; then
    say "no YARN with HDFS here"
    exit
fi
folder=/tmp/cm-check/spark-$$ log=$(mktemp)
as_hadoop() { as hadoop env HOME=/var/lib/hadoop HADOOP_CONF_DIR=/etc/hadoop "$@"; }
clean() {
    rm -f "$log"
    http DELETE "$CM_MASTER" 9870 "/webhdfs/v1$folder?op=DELETE&recursive=true&user.name=hadoop" >/dev/null || true
}
trap clean EXIT
texts() { # as in words.py
    local files=()
    mapfile -t files < <(find /usr/share/common-licenses -name 'GPL*' 2>/dev/null | sort)
    ((${#files[@]})) || files=("$plugin/checks/words.py")
    cat "${files[@]}"
}
http PUT "$CM_MASTER" 9870 "/webhdfs/v1$folder?op=MKDIRS&user.name=hadoop" >/dev/null || die "HDFS does not make the folder $folder"
texts | as_hadoop hdfs dfs -put - "$folder/text"
as_hadoop CM_WORKERS="$CM_WORKERS" "$home/bin/spark-submit" --master yarn --deploy-mode client "${small_job[@]}" \
    --conf spark.executor.memoryOverhead=128m --conf spark.yarn.am.memory=128m --num-executors 2 \
    --executor-cores 1 "$plugin/checks/words.py" "hdfs://$CM_MASTER:8020$folder/text" 2>"$log" || {
    tail -n 30 "$log" >&2
    exit 1
}
