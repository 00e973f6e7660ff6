#!/bin/bash
# The master: JupyterLab, with a user of its own.
# shellcheck source-path=SCRIPTDIR source=files/common.sh
source "$(dirname "$0")/files/common.sh"

install_jupyterlab() {
    local python part
    make_user notebook "$data"
    # What kernels may show to Dask and Spark, where these are.
    for part in dask spark; do
        if getent group "$part" >/dev/null; then add_to_group "$part" notebook; fi
    done
    unpack_payload "$home"
    python=$(command -v python3.11) || die "$CM_NODE has no Python 3.11, for which JupyterLab is made here"
    "$python" -m venv --without-pip --system-site-packages "$home"
    echo "$home/site-packages" >"$home/lib/python3.11/site-packages/jupyterlab.pth"
    # Jupyter looks for its pages, kernels and extensions beside the Python that runs it.
    for part in share etc; do ln -sfn "site-packages/$part" "$home/$part"; done
}

# A folder that is there already stays its owner's, but for one that an earlier uninstall has left.
make_directory() {
    [[ $directory == /* ]] || die "directory: $directory is no absolute path"
    if [[ ! -d $directory ]]; then
        roots_own "$directory" || die "directory: make $directory yourself, writable for the user notebook: others may write beside it"
        install -d -m 2770 -o notebook -g notebook "$directory"
    elif roots_own "${directory%/*}/" && [[ $(stat -c '%U %a' "$directory") == "$user 2770" ]]; then
        chown -R notebook:notebook "$directory"
    fi
    as notebook test -w "$directory" || die "the user notebook can't write to $directory, which was there before"
    if id -u "$user" >/dev/null 2>&1; then usermod --append --groups notebook "$user"; fi
}

configure() {
    install -d -m 755 "$conf"
    write_file "$conf/token" 600 notebook <"$plugin/secrets/token"
    write_file "$conf/jupyter_server_config.py" 644 <"$plugin/files/jupyter_server_config.py"
    cm-service add notebook --user notebook -- "$home/bin/python" -m jupyterlab "--config=$conf/jupyter_server_config.py" \
        "--ServerApp.ip=$CM_MASTER_IP" "--ServerApp.port=$CM_SETTING_PORT" "--ServerApp.root_dir=$directory"
}

# Notebooks are their writers' work: they stay, with an owner who stays.
leave_notebooks() {
    [[ -d $directory && $(stat -c %U "$directory") == notebook ]] && roots_own "${directory%/*}/" || return 0
    rmdir "$directory" 2>/dev/null && return 0
    say "what was written in $directory stays there"
    chown -R "$(id -u "$user"):$(id -g "$user")" "$directory"
}

case ${1:-} in
    install)
        install_jupyterlab
        make_directory
        configure
        ;;
    start) start_all notebook "$CM_SETTING_PORT" ;;
    stop) stop_all notebook ;;
    status) states notebook ;;
    join | leave) ;;
    uninstall)
        forget_all notebook
        leave_notebooks
        rm -rf "$home" "$conf" "$data"
        forget_user notebook
        ;;
    *) die "master.sh: unknown verb '${1:-}'" ;;
esac
