#!/bin/bash
# What every node has around its environments; the environments themselves come from the client.
# shellcheck source-path=SCRIPTDIR/../boot source=plugin.sh
source "$(dirname "$0")/plugin.sh"
prefix=$CM_SETTING_INSTALL_PREFIX
profile=/etc/profile.d/conda.sh

write_profile() {
    if [[ $CM_SETTING_CONDA_SH != true ]]; then
        rm -f "$profile"
        return
    fi
    write_file "$profile" 644 <<SH
# The conda environment root, from cm.
export CONDARC=$prefix/.condarc
if [ -d $prefix/envs/root/bin ]; then
    case ":\$PATH:" in
        *:$prefix/envs/root/bin:*) ;;
        *) PATH=$prefix/envs/root/bin:\$PATH ;;
    esac
fi
SH
}

list() { # a key of .condarc with its items; what a token would open is left out
    local key=$1 item
    [[ -n $2 ]] || return 0
    echo "$key:"
    while IFS= read -r item; do
        [[ $item == *'<TOKEN>'* || $item == *"\${"* ]] || echo "  - '${item//\'/\'\'}'"
    done <<<"$2"
}

write_condarc() {
    {
        list channels "$CM_SETTING_CHANNELS"
        list default_channels "$CM_SETTING_DEFAULT_CHANNELS"
        [[ -z $CM_SETTING_CHANNEL_ALIAS ]] || echo "channel_alias: $CM_SETTING_CHANNEL_ALIAS"
        case $CM_SETTING_SSL_VERIFY in true | false) echo "ssl_verify: $CM_SETTING_SSL_VERIFY" ;; esac
    } | write_file "$prefix/.condarc" 644
}

let_users_in() {
    [[ -n $CM_SETTING_CONDA_ACL ]] || return 0
    groupadd --system --force conda
    while IFS= read -r user; do
        id -u "$user" >/dev/null 2>&1 || { echo "conda_acl: there is no user $user on $CM_NODE" >&2; exit 1; }
        usermod --append --groups conda "$user"
    done <<<"$CM_SETTING_CONDA_ACL"
    chgrp conda "$prefix/envs"
    # Nobody but its owner may replace what lies there: `root` is first on everybody's PATH.
    chmod 3775 "$prefix/envs"
}

case ${1:-} in
    install)
        refuse_foreign "$prefix/envs"
        mkdir -p "$prefix/envs"
        write_profile
        write_condarc
        let_users_in
        ;;
    uninstall)
        # Only what is ours: others may have put environments of their own beside it.
        rm -f "$profile" "$prefix/.condarc"
        rm -rf "$prefix/.environments"
        if [[ -L $prefix/bin ]]; then rm -f "$prefix/bin"; fi
        find "$prefix/envs" -maxdepth 1 -lname '../.environments/*' -delete 2>/dev/null || true
        rmdir --ignore-fail-on-non-empty "$prefix/envs" "$prefix" 2>/dev/null || true
        [[ -z $CM_SETTING_CONDA_ACL ]] || groupdel conda 2>/dev/null || true
        ;;
    start | stop | status | join | leave) ;;
    *)
        echo "all.sh: unknown verb '${1:-}'" >&2
        exit 2
        ;;
esac
