#!/bin/bash
# What every node of the cluster has: the user, the jars, the commands, the configuration.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"
# shellcheck source-path=SCRIPTDIR source=files/configure.sh
source "$plugin/files/configure.sh"

make_user() {
    id -u hadoop >/dev/null 2>&1 ||
        useradd --system --user-group --home-dir "$data" --no-create-home --shell /usr/sbin/nologin hadoop
    install -d -m 750 -o hadoop -g hadoop "$data"
    install -d -m 755 -o hadoop -g hadoop "$logs"
    # The login user administers HDFS without sudo: the group is HDFS's supergroup.
    if id -u "$user" >/dev/null 2>&1; then usermod --append --groups hadoop "$user"; fi
}

unpack() {
    local payload
    payload=$(find "/var/cache/cm/payloads/hadoop" -name '*.tar' 2>/dev/null | head -n 1)
    [[ -n $payload ]] || die "no payload in /var/cache/cm/payloads/hadoop"
    [[ ! -e $home/.payload || $(<"$home/.payload") != "${payload##*/}" ]] || return 0
    rm -rf "$home" "$home.new"
    mkdir -p "$home.new/bin" "$home.new/share/hadoop/mapreduce"
    tar -xf "$payload" -C "$home.new" --no-same-owner
    install -m 755 "$plugin/files/hadoop" "$home.new/bin/hadoop"
    local tool
    for tool in hdfs yarn mapred; do ln -s hadoop "$home.new/bin/$tool"; done
    local jar # where Hadoop's own documentation says the examples are
    for jar in "$home.new"/lib/hadoop-mapreduce-examples-*.jar; do
        ln -s "../../../lib/${jar##*/}" "$home.new/share/hadoop/mapreduce/"
    done
    echo "${payload##*/}" >"$home.new/.payload"
    mv "$home.new" "$home"
}

link_commands() {
    local tool
    for tool in hadoop hdfs yarn mapred; do ln -sfn "$home/bin/$tool" "/usr/local/bin/$tool"; done
}

case ${1:-} in
    install)
        make_user
        unpack
        link_commands
        write_configuration
        ;;
    join | leave) write_configuration ;;
    start | stop | status) ;;
    uninstall)
        rm -rf "$home" "$conf" "$data" "$logs"
        rm -f /usr/local/bin/{hadoop,hdfs,yarn,mapred}
        userdel hadoop 2>/dev/null || true
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
