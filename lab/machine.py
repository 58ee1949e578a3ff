"""What the lab needs from the machine, and how to get it: `python -m lab install`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.errors import MissingOnMachine

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: program → the Debian package that carries it
PROGRAMS = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
    "rsync": "rsync",
    "pg_createcluster": "postgresql",
    "patchelf": "patchelf",
}
#: what hosts made of namespaces need besides
NAMESPACE_PROGRAMS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "tini": "tini",
    "sudo": "sudo",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "mkfs.ext4": "e2fsprogs",
}
CREATECLUSTER_CONF = Path("/etc/postgresql-common/createcluster.conf")
POLICY = Path("/usr/sbin/policy-rc.d")


def program(name: str) -> str:
    """The program's path, looked for in the sbin directories too, which an ordinary user's PATH lacks."""
    found = shutil.which(name, path=PATH)
    if found is None:
        package = (PROGRAMS | NAMESPACE_PROGRAMS).get(name, name)
        raise MissingOnMachine(f"{name} is missing: run `python -m lab install` (or apt-get install {package})")
    return found


def missing_packages() -> list[str]:
    """Debian packages that would have to be installed; empty when everything is there."""
    wanted = PROGRAMS | NAMESPACE_PROGRAMS
    return sorted({package for name, package in wanted.items() if shutil.which(name, path=PATH) is None})


def install() -> list[str]:
    """Install what is missing, by apt, starting no daemon and making no cluster. Returns what it installed."""
    packages = missing_packages()
    if not packages:
        return []
    as_root = _as_root()
    if as_root is None or shutil.which("apt-get", path=PATH) is None:
        raise MissingOnMachine(f"missing: {' '.join(packages)}. As root: apt-get install {' '.join(packages)}")
    subprocess.run([*as_root, "sh", "-eu", "-c", _APT_SCRIPT, "apt", *packages], check=True, stdin=subprocess.DEVNULL)
    return packages


def _as_root() -> list[str] | None:
    """The prefix that makes a command root's, or None where there is no way."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo", path=PATH)
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


# No daemon of these packages may start here (policy-rc.d, only while apt runs and only if nobody else put one there),
# and Debian's `main` cluster is not made: the clusters of the lab are in its hosts.
_APT_SCRIPT = f"""
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 PATH={PATH}
if [ ! -e {CREATECLUSTER_CONF} ]; then
    mkdir -p {CREATECLUSTER_CONF.parent}
    echo 'create_main_cluster = false' > {CREATECLUSTER_CONF}
fi
if [ ! -e {POLICY} ]; then
    trap 'rm -f {POLICY}' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > {POLICY}
    chmod 755 {POLICY}
fi
apt-get -q -o DPkg::Lock::Timeout=300 update
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
"""


def namespaces_refused(directory: Path) -> str | None:
    """Why hosts with their disks below `directory` cannot be made of namespaces; None where they can. Tries it."""
    if os.geteuid() != 0:
        return "namespaces with a disk of their own need root"
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=directory) as probe:
        for part in ("upper", "work", "root"):
            Path(probe, part).mkdir()
        overlay = f"lowerdir=/,upperdir={probe}/upper,workdir={probe}/work"
        apart = [program("unshare"), "--mount", "--uts", "--ipc", "--net", "--pid", "--fork"]
        mount = ["mount", "-t", "overlay", "probe", "-o", overlay, f"{probe}/root"]
        tried = subprocess.run([*apart, *mount], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else " ".join(tried.stderr.split()) or "unshare is refused"
