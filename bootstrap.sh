#!/usr/bin/env bash
# Everything this project needs on this machine: system packages and the virtual environment .venv.
#
#   ./bootstrap.sh check    what lint and unit tests need
#   ./bootstrap.sh nodes    that, and what nodes on this machine and the hadoop payload need (the default)
#   ./bootstrap.sh devcloud that, and what an OpenStack on this machine needs
#   ./bootstrap.sh test     that, and what only tests need
#   ./bootstrap.sh bench    that, and the programs that the benchmarks compare with
#
# It does only what is missing, so running it again costs nothing. As root, or with passwordless sudo, it installs
# what is missing through apt-get; otherwise it names the packages and exits 1.
set -euo pipefail

level=${1:-nodes}
case $level in check | nodes | devcloud | test | bench) ;; *)
  echo "bootstrap.sh: '$level' is none of check, nodes, devcloud, test, bench" >&2
  exit 2
  ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/.venv
# An ordinary user's PATH lacks the folders where some of these commands lie.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive

say() { printf 'bootstrap: %s\n' "$*"; }
complain() { printf 'bootstrap: %s\n' "$*" >&2; }

# --- system packages ------------------------------------------------------------------------------------------------

# Each row: a command that must be there, and the Debian/Ubuntu package that brings it.
needed_commands() {
  echo "make make"
  echo "shellcheck shellcheck"
  echo "ssh openssh-client"
  echo "ip iproute2"
  [[ $level == check ]] && return
  echo "nft nftables"
  echo "newuidmap uidmap"
  echo "slirp4netns slirp4netns"
  echo "mmdebstrap mmdebstrap"
  echo "mvn maven"
  [[ $level == nodes ]] && return
  echo "mariadbd mariadb-server-core"
  echo "mariadb mariadb-client-core"
  [[ $level == devcloud ]] && return
  echo "sshd openssh-server"
  echo "zsh zsh"
  echo "fish fish"
  echo "chromium chromium"
  echo "java default-jre-headless"
  [[ $level == test ]] && return
  echo "pdsh pdsh"
  echo "clush clustershell"
}

# Files that no command stands for: the certificates that nodes and Maven trust; on Ubuntu, Debian's archive keys.
needed_files() {
  [[ $level == check ]] && return
  echo "/etc/ssl/certs/ca-certificates.crt ca-certificates"
  echo "/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring"
}

# Prints the first Python that is new enough and can make virtual environments. The distribution's own goes first:
# the tests run `cm` as ordinary users too, who cannot reach an interpreter in somebody else's home.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# Ubuntu 22.04 and other older ones have a newer Python beside their own.
python_packages() {
  if /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info >= (3, 11))' 2>/dev/null; then
    printf '%s\n' python3.11 python3.11-venv
  else
    printf '%s\n' python3 python3-venv
  fi
}

missing_packages() {
  local thing package
  while read -r thing package; do
    command -v "$thing" >/dev/null || echo "$package"
  done < <(needed_commands)
  while read -r thing package; do
    [[ -e $thing ]] || echo "$package"
  done < <(needed_files)
  find_python >/dev/null || python_packages
}

# Prints the words that make a command run as root; fails where there are none.
as_root() {
  if [[ $EUID -eq 0 ]]; then
    echo env
  elif sudo -n true 2>/dev/null; then
    echo sudo -n env
  else
    return 1
  fi
}

install_packages() {
  local -a packages=("$@") root
  if ! command -v apt-get >/dev/null; then
    complain "this machine has no apt-get; install what gives these Debian packages: ${packages[*]}"
    exit 1
  fi
  local words
  if ! words=$(as_root); then
    complain "these system packages are missing, and neither root nor passwordless sudo is at hand. Install them with"
    complain "    sudo apt-get update && sudo apt-get install ${packages[*]}"
    exit 1
  fi
  read -ra root <<<"$words"
  local -a apt=("${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300
    -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)
  say "installing system packages: ${packages[*]}"
  # A broken source that has nothing to do with this project must not stop it: the install decides.
  "${apt[@]}" update || complain "apt-get update had errors (above); going on with the sources that work"
  if [[ " ${packages[*]} " == *" openssh-server "* && -d /run/systemd/system ]]; then
    # Tests start an sshd of their own; nobody asked for one that the network can reach.
    "${root[@]}" systemctl --quiet mask ssh.service ssh.socket
    "${apt[@]}" install --yes --no-install-recommends "${packages[@]}" >/dev/null
    "${root[@]}" systemctl --quiet unmask ssh.service ssh.socket
    "${root[@]}" systemctl --quiet disable ssh.service ssh.socket
    say "openssh-server is installed for the tests; its service is neither started nor enabled"
  else
    "${apt[@]}" install --yes --no-install-recommends "${packages[@]}" >/dev/null
  fi
}

# --- subordinate ids ------------------------------------------------------------------------------------------------

# Nodes of an ordinary user need 65536 subordinate ids; root writes its maps itself.
ensure_subordinate_ids() {
  [[ $EUID -eq 0 ]] && return
  local user first range words
  user=$(id -un)
  grep -qs "^$user:" /etc/subuid && grep -qs "^$user:" /etc/subgid && return
  first=$(awk -F: 'BEGIN { top = 1000000 } $2 + $3 > top { top = $2 + $3 } END { print top }' \
    <(cat /etc/subuid /etc/subgid 2>/dev/null))
  range=$first-$((first + 65535))
  if ! words=$(as_root); then
    complain "user $user has no subordinate ids, which nodes on this machine need. Ask an administrator for"
    complain "    sudo usermod --add-subuids $range --add-subgids $range $user"
    exit 1
  fi
  local -a root
  read -ra root <<<"$words"
  say "giving $user the subordinate ids $range"
  "${root[@]}" usermod --add-subuids "$range" --add-subgids "$range" "$user"
}

# --- virtual environment --------------------------------------------------------------------------------------------

# The stamp says for which tree, interpreter and level the environment was made; setup.py newer than it means again.
ensure_environment() {
  local python made_for extras stamp=$venv/.stamp
  python=$(find_python)
  case $level in test) extras='test' ;; bench) extras='test,bench' ;; *) extras='check' ;; esac
  made_for="$here $python $("$python" --version)"
  if [[ -e $stamp && ! $here/setup.py -nt $stamp ]] &&
    [[ $(head -n 1 "$stamp") == "$made_for" ]] &&
    [[ $extras == check || $(tail -n 1 "$stamp") == "$extras"* ]]; then
    return
  fi
  if [[ ! -e $stamp || $(head -n 1 "$stamp") != "$made_for" ]]; then
    say "making the virtual environment $venv with $python"
    rm -rf "$venv"
    "$python" -m venv "$venv"
  fi
  say "installing cm and its dependencies ($extras) into $venv"
  # Python compiles what it imports; compiling all that is there takes longer than installing it.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --editable "${here}[$extras]"
  printf '%s\n%s\n' "$made_for" "$extras" >"$stamp"
}

mapfile -t missing < <(missing_packages)
if [[ ${#missing[@]} -gt 0 ]]; then
  install_packages "${missing[@]}"
  mapfile -t missing < <(missing_packages)
  if [[ ${#missing[@]} -gt 0 ]]; then
    complain "still missing after the installation: ${missing[*]}"
    exit 1
  fi
fi
[[ $level == check ]] || ensure_subordinate_ids
ensure_environment
say "ready ($level)"
