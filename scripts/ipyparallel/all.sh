#!/bin/bash
# What every node has: the user, a virtual environment with IPython Parallel, and how to reach the controller.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

install_ipyparallel() {
    local python
    make_user ipyparallel "$data"
    folders_as ipyparallel 700 "$profile" "$profile/security"
    unpack_payload "$home"
    python=$(command -v python3.11) || die "$CM_NODE has no Python 3.11, for which IPython Parallel is made here"
    "$python" -m venv --without-pip --system-site-packages "$home"
    echo "$home/site-packages" >"$home/lib/python3.11/site-packages/ipyparallel.pth"
    # `import ipyparallel` works in the system's Python, and so in the kernels of the plugin notebook.
    echo "$home/site-packages" | write_file /usr/local/lib/python3.11/dist-packages/cm-ipyparallel.pth 644
}

# connection_file NAME PORTS: what the controller writes otherwise, at every start anew; this is the same on all nodes.
connection_file() {
    write_as ipyparallel "$profile/security/$1" 600 <<END
{"ssh": "", "interface": "tcp://$CM_MASTER_IP", "location": "$CM_MASTER", "registration": 10101, $2,
 "key": "$(<"$plugin/secrets/key")", "signature_scheme": "hmac-sha256", "pack": "json", "unpack": "json", "curve_serverkey": null}
END
}

case ${1:-} in
    install)
        install_ipyparallel
        connection_file ipcontroller-engine.json \
            '"control": 10102, "mux": 10103, "task": 10104, "iopub": 10105, "hb_ping": 10106, "hb_pong": 10107, "broadcast": [10108, 10109]'
        connection_file ipcontroller-client.json \
            '"control": 10110, "mux": 10111, "task": 10112, "task_scheme": "leastload", "iopub": 10113, "notification": 10114, "broadcast": 10115'
        ;;
    join | leave | start | stop | status) ;;
    uninstall)
        rm -rf "$home" "$data" /usr/local/lib/python3.11/dist-packages/cm-ipyparallel.pth
        forget_user ipyparallel
        ;;
    *) die "all.sh: unknown verb '${1:-}'" ;;
esac
