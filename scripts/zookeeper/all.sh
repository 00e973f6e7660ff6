#!/bin/bash
# What every node has: the user, the jars, the command, and the list of the servers.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

install_zookeeper() {
    make_user zookeeper "$data"
    unpack_payload "$home"
    install -d -m 755 "$home/bin"
    install -m 755 "$plugin/files/zkCli.sh" "$home/bin/zkCli.sh"
    ln -sfn "$home/bin/zkCli.sh" /usr/local/bin/zkCli.sh
}

# Clients take this: HOST:PORT,HOST:PORT...
list_servers() { servers | sed 's/$/:2181/' | paste -sd , | write_file "$conf/servers" 644; }

case ${1:-} in
    install)
        install_zookeeper
        list_servers
        ;;
    join)
        list_servers
        take_part
        ;;
    leave)
        list_servers
        take_leave
        ;;
    start | stop | status) ;;
    uninstall)
        rm -rf "$home" "$conf" "$data" /usr/local/bin/zkCli.sh
        forget_user zookeeper
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
