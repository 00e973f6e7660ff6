#!/bin/bash
# Runs on two nodes at once: the first worker writes a file into HDFS, the master reads it and removes it.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"

writer=${CM_WORKERS%% *}
path=/tmp/cm-check/from-$writer
age_limit=300   # seconds; longer than the check may take

if [[ $CM_NODE == "$writer" ]]; then
    hdfs_folder /tmp/cm-check hadoop 755
    printf 'written on %s at %s\n' "$CM_NODE" "$(date +%s)" | as_hadoop hdfs dfs -put -f - "$path"
    say "wrote $path"
    exit
fi

written_just_now() { # a file of an earlier run proves nothing
    local modified
    modified=$(http GET "$CM_MASTER" 9870 "/webhdfs/v1$path?op=GETFILESTATUS&user.name=hadoop" |
        sed -n 's/.*"length":[1-9].*"modificationTime":\([0-9]*\).*/\1/p')
    [[ -n $modified ]] && ((modified / 1000 >= $(date +%s) - age_limit))
}
wait_with hadoop-namenode 30 "$path is written by $writer" written_just_now
text=$(as_hadoop hdfs dfs -cat "$path")
say "read $path: $text"
[[ $text == "written on $writer at "* ]]
http DELETE "$CM_MASTER" 9870 "/webhdfs/v1$path?op=DELETE&user.name=hadoop" >/dev/null
