#!/bin/bash
# What every node of the cluster has: the user, the jars, the commands, the configuration.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"
# shellcheck source-path=SCRIPTDIR source=files/configure.sh
source "$plugin/files/configure.sh"

make_users() {
    make_user hadoop "$data"
    install -d -m 755 -o hadoop -g hadoop "$logs"
    # The login user administers HDFS without sudo: the group is HDFS's supergroup.
    add_to_group hadoop "$user"
    # Jobs of Spark's run as hadoop, too.
    if getent group spark >/dev/null; then add_to_group spark hadoop; fi
}

install_commands() {
    local tool jar
    mkdir -p "$home/bin" "$home"/share/hadoop/{mapreduce,tools/lib}
    install -m 755 "$plugin/files/hadoop" "$home/bin/hadoop"
    for tool in hdfs yarn mapred; do ln -sfn hadoop "$home/bin/$tool"; done
    for tool in hadoop $(! has hdfs || echo hdfs) $(! has yarn || echo yarn mapred); do
        ln -sfn "$home/bin/$tool" "/usr/local/bin/$tool"
    done
    # Where books and tutorials look for it.
    for jar in "$home"/lib/hadoop-mapreduce-examples-*.jar; do
        ln -sf "../../../lib/${jar##*/}" "$home/share/hadoop/mapreduce/"
    done
    for jar in "$home"/lib/hadoop-{streaming,distcp}-*.jar; do
        [[ ! -e $jar ]] || ln -sf "../../../../lib/${jar##*/}" "$home/share/hadoop/tools/lib/"
    done
}

case ${1:-} in
    install)
        make_users
        unpack_payload "$home"
        install_commands
        write_configuration
        ;;
    join | leave) write_configuration ;;
    start | stop | status) ;;
    uninstall)
        rm -rf "$home" "$conf" "$data" "$logs" /tmp/hsperfdata_hadoop
        rm -f /usr/local/bin/{hadoop,hdfs,yarn,mapred}
        forget_user hadoop
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
