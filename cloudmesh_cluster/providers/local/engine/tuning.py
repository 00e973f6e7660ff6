"""The files that make a node of a plain Debian root file system: one thin layer above the base image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

INIT = "/usr/lib/node/init"
"""The first program of a node."""

Files = dict[str, tuple[int, str]]

HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

_INIT = """\
#!/bin/sh
# The first process of a node: first boot by cloud-init, then nothing but taking in orphans.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
[ -s /etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
mkdir -p /run/sshd /run/lock
chmod 1777 /run/lock
/usr/bin/python3 /usr/lib/node/boot
[ ! -x /etc/rc.local ] || /etc/rc.local
# Not `trap '' CHLD`: dash does not make the kernel take the dead away by it.
exec env --ignore-signal=CHLD sleep infinity
"""

_BOOT = """\
\"\"\"Run all stages of cloud-init in one process, and sshd as soon as it has host keys and users.\"\"\"

import glob
import os
import subprocess
import traceback


def keep_a_copy_of_the_output(path):
    tee = subprocess.Popen(["tee", "-a", path], stdin=subprocess.PIPE)
    os.dup2(tee.stdin.fileno(), 1)
    os.dup2(tee.stdin.fileno(), 2)
    tee.stdin.close()


def start_sshd():
    keys = sorted(glob.glob("/etc/ssh/ssh_host_*_key.pub"))
    if keys and not os.path.exists("/run/sshd.pid"):
        # As cloud-init's own keys-to-console does, but before anyone can connect, and without its ten processes.
        lines = [open(key).read().strip() for key in keys]
        print("-----BEGIN SSH HOST KEY KEYS-----", *lines, "-----END SSH HOST KEY KEYS-----", sep="\\n", flush=True)
        # -r: no fresh process image for each connection, which is a quarter of what a login costs.
        subprocess.run(["/usr/sbin/sshd", "-r", "-E", "/var/log/sshd.log"])


def stage(main, *words):
    try:
        main(["cloud-init", *words])
    except SystemExit as left:
        if left.code:
            print("cloud-init", *words, "ended with", left.code, flush=True)
    except Exception:  # the next stages must still run, as they do with a process for each
        traceback.print_exc()


def save_cpu():
    # A third of cloud-init's time: it reads its settings dozens of times by a YAML parser in Python, and it ends
    # before there is garbage worth collecting.
    import gc

    import yaml

    gc.disable()
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def run():
    start_sshd()
    keep_a_copy_of_the_output("/var/log/cloud-init-output.log")
    save_cpu()
    from cloudinit.cmd.main import main

    stage(main, "init", "--local")
    stage(main, "init")
    start_sshd()
    stage(main, "modules", "--mode=config")
    stage(main, "modules", "--mode=final")


run()
"""

_CLOUD = """\
# All of cloud-init's settings: it reads them some fifteen times at each boot, so they are few and in one file.
datasource_list: [ConfigDrive, None]
network: {config: disabled}
users: [default]
disable_root: false
preserve_hostname: true
manage_etc_hosts: false
locale: false
ssh_deletekeys: false
ssh_genkeytypes: [ed25519]
apt: {preserve_sources_list: true}
syslog_fix_perms: []
cloud_init_modules: [bootcmd, write-files, ca-certs, users-groups, ssh]
cloud_config_modules: [set-passwords, timezone, runcmd]
cloud_final_modules: [package-update-upgrade-install, write-files-deferred, scripts-vendor, scripts-per-once,
  scripts-per-boot, scripts-per-instance, scripts-user, final-message]
system_info:
  distro: debian
  default_user: {name: debian, lock_passwd: true, sudo: ["ALL=(ALL) NOPASSWD:ALL"], shell: /bin/bash}
  paths: {cloud_dir: /var/lib/cloud/, templates_dir: /etc/cloud/templates/}
  ssh_svcname: ssh
log_cfgs:
  - - |
      [loggers]
      keys=root,cloudinit
      [handlers]
      keys=file,console
      [formatters]
      keys=line,short
      [logger_root]
      level=WARNING
      handlers=file,console
      [logger_cloudinit]
      level=INFO
      handlers=
      qualname=cloudinit
      [handler_file]
      class=FileHandler
      level=INFO
      formatter=line
      args=('/var/log/cloud-init.log', 'a', 'UTF-8')
      [handler_console]
      class=StreamHandler
      level=WARNING
      formatter=short
      args=(sys.stderr,)
      [formatter_line]
      format=%(asctime)s - %(filename)s[%(levelname)s]: %(message)s
      [formatter_short]
      format=%(filename)s[%(levelname)s]: %(message)s
"""

_SSHD = """\
MaxStartups 200:30:400
MaxSessions 100
UseDNS no
PasswordAuthentication no
PrintLastLog no
"""

_HOSTS = """\
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
"""


def files() -> Files:
    """Return mode and content of every file of the layer, by path."""
    return {
        INIT: (0o755, _INIT),
        "/usr/lib/node/boot": (0o644, _BOOT),
        "/etc/cloud/cloud.cfg": (0o644, _CLOUD),
        "/etc/cloud/cloud.cfg.d/05_logging.cfg": (0o644, ""),
        "/etc/ssh/sshd_config.d/node.conf": (0o644, _SSHD),
        "/etc/update-motd.d/10-uname": (0o644, ""),
        "/etc/hosts": (0o644, _HOSTS),
        "/etc/resolv.conf": (0o644, ""),
        "/etc/apt/apt.conf.d/90node": (0o644, 'DPkg::Lock::Timeout "300";\n'),
        "/etc/dpkg/dpkg.cfg.d/90node": (0o644, "force-unsafe-io\n"),
        "/usr/sbin/policy-rc.d": (0o755, "#!/bin/sh\n# Packages install, but start nothing.\nexit 101\n"),
        **_certificates(),
    }


def _certificates() -> Files:
    # The bundle serves at once; the single files make it survive the next update-ca-certificates in the node.
    try:
        bundle = HOST_CERTIFICATES.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    local = sorted(Path("/usr/local/share/ca-certificates").rglob("*.crt"))
    return {
        str(HOST_CERTIFICATES): (0o644, bundle),
        **{
            f"/usr/local/share/ca-certificates/host-{number}.crt": (0o644, text)
            for number, text in enumerate(_readable(local))
        },
    }


def _readable(paths: Iterable[Path]) -> list[str]:
    texts = []
    for path in paths:
        try:
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return texts


def proxy_options(dump: Iterable[str]) -> list[str]:
    """Return the proxy settings among the lines of `apt-config dump`, as NAME=VALUE."""
    pattern = re.compile(r'(Acquire::[a-z]+::Proxy(?:::\S+)?) "(.+)";', re.IGNORECASE)
    found = (pattern.fullmatch(line.strip()) for line in dump)
    return [f"{match[1]}={match[2]}" for match in found if match]
