# shellcheck shell=bash
# Shared by the role scripts and the checks of this plugin; sourced, never run.
# shellcheck disable=SC2034  # what is not used here is used there
# shellcheck source-path=SCRIPTDIR/../boot source-path=SCRIPTDIR/../../boot source=plugin.sh
source "$(dirname "${BASH_SOURCE[0]}")/../plugin.sh"

home=/opt/dask
protocol=tcp
[[ $CM_SETTING_TLS != true ]] || protocol=tls
