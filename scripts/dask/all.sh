#!/bin/bash
# What every node has: the user, a virtual environment with Dask, the commands, the configuration.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

install_dask() {
    make_user dask /var/lib/dask
    unpack_payload "$home"
    local python
    python=$(command -v python3.11) || die "$CM_NODE has no Python 3.11, for which Dask is made here"
    "$python" -m venv --without-pip --system-site-packages "$home"
    echo "$home/site-packages" >"$home/lib/python3.11/site-packages/dask.pth"
    printf '#!/bin/sh\nexec %s/bin/python -m dask "$@"\n' "$home" | write_file /usr/local/bin/dask 755
}

# The login user's programs show the node's certificate, and so do notebooks.
install_certificate() {
    install -d -m 750 -o root -g dask /etc/dask/tls
    install -m 640 -o root -g dask "$plugin"/secrets/{ca,cert,key}.pem /etc/dask/tls
    add_to_group dask "$user" notebook
}

tls() { # the part of the configuration that asks everyone for a certificate
    [[ $protocol == tls ]] || return 0
    local role
    printf '    require-encryption: true\n    tls:\n      ca-file: /etc/dask/tls/ca.pem\n'
    for role in scheduler worker client; do
        printf '      %s: {cert: /etc/dask/tls/cert.pem, key: /etc/dask/tls/key.pem}\n' "$role"
    done
}

# A machine that is gone is found by its silent connections, for which Dask takes no less than 12 seconds. A worker that only computes without a pause, which keeps Python from
# all else, answers there all the same, so it is given more time to be heard of.
configure() {
    write_file /etc/dask/dask.yaml 644 <<END
# Written by the plugin dask of cm, and written anew by it: use the settings of the plugin.
scheduler-address: $protocol://$CM_MASTER_IP:8786
distributed:
  scheduler:
    worker-ttl: $((dead_after * 40))s
    allowed-failures: 10
  comm:
    timeouts: {connect: 10s, tcp: $((dead_after > 12 ? dead_after : 12))s}
$(tls)
  dashboard:
    link: "{scheme}://{host}:{port}/status"
END
}

case ${1:-} in
    install)
        install_dask
        [[ $protocol != tls ]] || install_certificate
        configure
        ;;
    join | leave | start | stop | status) ;;
    uninstall)
        rm -rf "$home" /etc/dask /var/lib/dask /usr/local/bin/dask
        forget_user dask
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
