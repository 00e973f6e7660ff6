# shellcheck shell=bash
# Shared by the role scripts of this plugin; sourced, never run.
# shellcheck disable=SC2034  # what is not used here is used there
# shellcheck source-path=SCRIPTDIR/../boot source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "${BASH_SOURCE[0]}")/../plugin.sh"

home=/opt/jupyterlab
conf=/etc/jupyterlab
data=/var/lib/jupyterlab
directory=$CM_SETTING_DIRECTORY
