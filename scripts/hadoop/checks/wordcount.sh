#!/bin/bash
# Counts the words of the licences that Debian ships, on YARN, and compares with sort and uniq on this node.
# shellcheck source-path=SCRIPTDIR source=../files/common.sh
source "$(dirname "$0")/../files/common.sh"
export LC_ALL=C

folder=/tmp/cm-check/wordcount-$$
here=$(mktemp -d)
clean() {
    http DELETE "$CM_MASTER" 9870 "/webhdfs/v1$folder?op=DELETE&recursive=true&user.name=hadoop" >/dev/null || true
    rm -rf "$here"
}
trap clean EXIT
chmod 755 "$here"

texts() { # real text, the same on every node; the plugin's own files where there is no licence
    local files=()
    mapfile -t files < <(find /usr/share/common-licenses -type f 2>/dev/null | sort)
    ((${#files[@]})) || files=("$plugin"/files/* "$plugin"/*.sh)
    cat "${files[@]}"
}

texts >"$here/text"
tr -s ' \t\n\r\f' '\n' <"$here/text" | grep . | sort | uniq -c | awk '{ print $2 "\t" $1 }' | sort >"$here/expected"

hdfs_folder "$folder" hadoop 755
hdfs_write "$folder/text" "$(<"$here/text")"
if ! as_hadoop yarn jar "$home"/lib/hadoop-mapreduce-examples-*.jar wordcount \
    -Dmapreduce.job.reduces=1 "$folder/text" "$folder/counts" >"$here/log" 2>&1; then
    tail -n 30 "$here/log" >&2
    die "the word count failed"
fi
hdfs_read "$folder/counts/part-r-00000" | sort >"$here/actual"
cmp -s "$here/expected" "$here/actual" || { diff "$here/expected" "$here/actual" | head -n 10 >&2; die "the counts differ"; }
say "$(wc -l <"$here/actual") different words, $(awk -F '\t' '{ n += $2 } END { print n }' "$here/actual") in all, counted right"
