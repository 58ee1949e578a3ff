"""What the lab needs from the machine, and how to get it: `python -m lab install`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lab.errors import MissingOnMachine

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: program → the Debian package that carries it: what every host needs
PROGRAMS = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
    "rsync": "rsync",
    "setsid": "util-linux",
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
    "pg_createcluster": "postgresql",
}
#: what fetched builds of PostgreSQL need before they run
BUILD_PROGRAMS = {"patchelf": "patchelf"}
ALL_PROGRAMS = PROGRAMS | NAMESPACE_PROGRAMS | BUILD_PROGRAMS
NO_MAIN_CLUSTER = Path("/etc/postgresql-common/createcluster.d/pgpanel-lab.conf")
POLICY = Path("/usr/sbin/policy-rc.d")


def program(name: str) -> str:
    """The program's path, looked for in the sbin directories too, which an ordinary user's PATH lacks."""
    require([name])
    return str(_find(name))


def require(names: Iterable[str]) -> None:
    """Raises MissingOnMachine, naming all that is missing and how to get it."""
    missing = [name for name in names if _find(name) is None]
    if missing:
        packages = " ".join(sorted({ALL_PROGRAMS.get(name, name) for name in missing}))
        raise MissingOnMachine(
            f"missing: {', '.join(missing)}. Get it: python -m lab install, or as root: apt-get install {packages}"
        )


def missing_packages() -> list[str]:
    """Debian packages that would have to be installed; empty when everything is there."""
    return sorted({package for name, package in ALL_PROGRAMS.items() if _find(name) is None})


def _find(name: str) -> str | None:
    return shutil.which(name, path=PATH)


def install() -> list[str]:
    """Install what is missing, by apt, starting no daemon and making no cluster. Returns what it installed."""
    packages = missing_packages()
    if not packages:
        return []
    as_root = _as_root()
    if as_root is None or _find("apt-get") is None:
        raise MissingOnMachine(f"missing: {' '.join(packages)}. As root: apt-get install {' '.join(packages)}")
    subprocess.run([*as_root, "sh", "-eu", "-c", _APT_SCRIPT, "apt", *packages], check=True, stdin=subprocess.DEVNULL)
    return packages


def _as_root() -> list[str] | None:
    """The prefix that makes a command root's, or None where there is no way."""
    if os.geteuid() == 0:
        return []
    sudo = _find("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


# No daemon of these packages may start here (policy-rc.d, only while apt runs and only if nobody else put one there),
# and Debian's `main` cluster is not made: the clusters of the lab are in its hosts.
_APT_SCRIPT = f"""
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 PATH={PATH}
mkdir -p {NO_MAIN_CLUSTER.parent}
echo 'create_main_cluster = false' > {NO_MAIN_CLUSTER}
trap 'rm -f {NO_MAIN_CLUSTER}' EXIT
if [ ! -e {POLICY} ]; then
    trap 'rm -f {NO_MAIN_CLUSTER} {POLICY}' EXIT
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
