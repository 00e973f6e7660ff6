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

unpack() { # the archive is removed afterwards: its files are there a second time
    local archives=/var/cache/cm/payloads/hadoop payload
    mkdir -p "$archives"
    payload=$(find "$archives" -name '*.tar' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
    if [[ -z $payload ]]; then
        [[ -e $home/.payload ]] || die "there is no archive in $archives"
        return
    fi
    if [[ ! -e $home/.payload || $(<"$home/.payload") != "${payload##*/}" ]]; then
        rm -rf "$home.new"
        mkdir -p "$home.new/bin" "$home.new/share/hadoop/mapreduce"
        tar -xf "$payload" -C "$home.new" --no-same-owner
        echo "${payload##*/}" >"$home.new/.payload"
        rm -rf "$home"
        mv "$home.new" "$home"
    fi
    rm -f "$archives"/*.tar
}

install_commands() {
    local tool jar
    install -m 755 "$plugin/files/hadoop" "$home/bin/hadoop"
    for tool in hdfs yarn mapred; do ln -sfn hadoop "$home/bin/$tool"; done
    for tool in hadoop hdfs yarn mapred; do ln -sfn "$home/bin/$tool" "/usr/local/bin/$tool"; done
    # Where books and tutorials look for it.
    for jar in "$home"/lib/hadoop-mapreduce-examples-*.jar; do
        ln -sf "../../../lib/${jar##*/}" "$home/share/hadoop/mapreduce/"
    done
}

case ${1:-} in
    install)
        make_user
        unpack
        install_commands
        write_configuration
        ;;
    join | leave) write_configuration ;;
    start | stop | status) ;;
    uninstall)
        rm -rf "$home" "$conf" "$data" "$logs" /tmp/hsperfdata_hadoop
        rm -f /usr/local/bin/{hadoop,hdfs,yarn,mapred}
        userdel hadoop 2>/dev/null || true
        groupdel hadoop 2>/dev/null || true
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
