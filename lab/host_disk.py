"""What stands on a host's disk before it boots for the first time.

A host made of namespaces sees the machine's own programs (the lower layer of its overlay is `/`) and nothing of the
machine's life: every directory shows only what is named here, the accounts are the host's own, and so are all keys.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from lab.keys import LabKeys, make_ssh_key

#: directory → what of the machine's content a host may see in it. All else is whited out, known or not.
SHOWN: dict[str, frozenset[str]] = {
    directory: frozenset(names.split())
    for directory, names in {
        "/": "bin sbin lib lib32 lib64 libx32 usr etc var",
        "/usr": "bin sbin lib lib32 lib64 libx32 libexec share",
        "/var": "lib lock run",
        "/var/lib": "dpkg locales",
        "/etc": """adduser.conf alternatives bash.bashrc debian_version default deluser.conf dpkg host.conf inputrc
            init.d issue ld.so.cache ld.so.conf ld.so.conf.d libaudit.conf locale.alias locale.gen localtime login.defs
            logrotate.d magic mke2fs.conf networks nsswitch.conf os-release pam.conf pam.d perl postgresql-common
            profile protocols python3 python3.11 python3.13 rpc security selinux services shells skel ssl sysctl.conf
            terminfo timezone ucf.conf""",
        "/etc/default": "locale useradd",
        "/etc/ssl": "certs openssl.cnf",
    }.items()
}
#: directories that a host has for itself: path → (mode, owner)
OWN_DIRECTORIES: dict[str, tuple[int, str]] = {
    "/root": (0o700, "root"),
    "/root/.ssh": (0o700, "root"),
    "/home": (0o755, "root"),
    "/home/ops": (0o755, "ops"),
    "/home/ops/.ssh": (0o700, "ops"),
    "/mnt": (0o755, "root"),
    "/opt": (0o755, "root"),
    "/proc": (0o555, "root"),
    "/sys": (0o555, "root"),
    "/dev": (0o755, "root"),
    "/run": (0o755, "root"),
    "/srv": (0o755, "root"),
    "/tmp": (0o1777, "root"),
    "/usr/local": (0o755, "root"),
    "/usr/local/bin": (0o755, "root"),
    "/usr/local/sbin": (0o755, "root"),
    "/var/cache": (0o755, "root"),
    "/var/log": (0o755, "root"),
    "/var/log/postgresql": (0o1775, "postgres"),
    "/var/tmp": (0o1777, "root"),
    "/var/lib/postgresql": (0o755, "postgres"),
    "/var/lib/postgresql/.ssh": (0o700, "postgres"),
    "/etc/lab": (0o755, "root"),
    "/etc/postgresql": (0o755, "postgres"),
    "/etc/ssh": (0o755, "root"),
    "/etc/sudoers.d": (0o750, "root"),
}
SSHD_CONFIG = """\
Port {port}
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication {password_login}
KbdInteractiveAuthentication no
UsePAM yes
UseDNS no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""
SUDOERS = """\
Defaults env_reset
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
ops ALL=(ALL:ALL) NOPASSWD: ALL
"""


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int
    home: str
    shell: str


class HostDisk:
    """The upper layer of a host that has never run, as a directory of the machine."""

    def __init__(self, upper: Path) -> None:
        self.upper = upper
        self._accounts = {account.name: account for account in _host_accounts()}
        self._groups = {account.name: account.gid for account in self._accounts.values()} | _machine_groups()

    def path(self, inside: str) -> Path:
        """Where a path of the host stands on the machine's disk."""
        return self.upper / inside.lstrip("/")

    def owner(self, name: str) -> tuple[int, int]:
        return self._accounts[name].uid, self._accounts[name].gid

    def parents(self, inside: str) -> None:
        """The directories above a path, in which the machine's content does shine through."""
        for parent in reversed(self.path(inside).relative_to(self.upper).parents):
            path = self.upper / parent
            if not path.exists():
                path.mkdir()
                self._claim(path, 0o755, "root")

    def directory(self, inside: str, mode: int = 0o755, owner: str = "root") -> Path:
        """A directory of the host's own, in which nothing of the machine's shines through."""
        path = self.path(inside)
        self.parents(inside)
        _remove_white_out(path)
        path.mkdir(exist_ok=True)
        self._claim(path, mode, owner)
        os.setxattr(path, "trusted.overlay.opaque", b"y")
        return path

    def file(self, inside: str, text: str, mode: int = 0o644, owner: str = "root") -> Path:
        path = self.path(inside)
        self.parents(inside)
        _remove_white_out(path)
        path.touch(0o600)  # never readable by others, not even until its mode is set
        path.write_text(text)
        self._claim(path, mode, owner)
        return path

    def copy(self, source: Path, inside: str) -> None:
        """A tree of the machine's, root's own in the host."""
        target = self.directory(inside)
        subprocess.run(["cp", "-a", "--reflink=auto", "--no-preserve=ownership", f"{source}/.", target], check=True)

    def hide(self, inside: str) -> None:
        """White out a file or directory of the machine's."""
        path = self.path(inside)
        self.parents(inside)
        os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))

    def hide_debians_postgres(self) -> None:
        """No trace of the release's packages, on hosts whose PostgreSQL came by another way."""
        wrapped = [e.path for e in os.scandir("/usr/bin") if e.is_symlink() and "pg_wrapper" in os.readlink(e.path)]
        tools = [str(path) for path in Path("/usr/bin").glob("pg_*cluster*")]
        for inside in (*wrapped, *tools, "/usr/lib/postgresql", "/usr/share/postgresql-common"):
            self.hide(inside)
        for inside in ("/etc/postgresql", "/var/log/postgresql"):
            self.path(inside).rmdir()
        self.hide("/etc/postgresql-common")

    def prepare(self, name: str, ssh_port: int, password_login: bool, keys: LabKeys) -> str:
        """Everything but PostgreSQL. Returns the fingerprint of the host key (SHA256:…)."""
        self.upper.mkdir(parents=True)
        for directory, shown in SHOWN.items():
            self._show_only(directory, shown)
        for directory, (mode, owner) in OWN_DIRECTORIES.items():
            self.directory(directory, mode, owner)
        for account, home in (("root", "/root"), ("postgres", "/var/lib/postgresql"), ("ops", "/home/ops")):
            self.file(f"{home}/.ssh/authorized_keys", keys.public_key, 0o600, account)
        # Debian's clusters have `ssl = on` with this pair
        self.file("/etc/ssl/certs/ssl-cert-snakeoil.pem", keys.certificate_path.read_text())
        self.directory("/etc/ssl/private", 0o710)
        secret = self.file("/etc/ssl/private/ssl-cert-snakeoil.key", keys.certificate_key_path.read_text(), 0o640)
        for path in (secret, secret.parent):
            os.chown(path, 0, self._groups["ssl-cert"])
        self._write_accounts()
        self._write_identity(name)
        self.file("/etc/sudoers", SUDOERS, 0o440)
        login = "yes" if password_login else "no"
        self.file("/etc/ssh/sshd_config", SSHD_CONFIG.format(port=ssh_port, password_login=login))
        shutil.copy(Path(__file__).with_name("host_boot.sh"), self.path("/etc/lab/boot"))
        return make_ssh_key(self.path("/etc/ssh/ssh_host_ed25519_key"), f"root@{name}")

    def _show_only(self, directory: str, shown: frozenset[str]) -> None:
        self.path(directory).mkdir(parents=True, exist_ok=True)
        self._claim(self.path(directory), 0o755, "root")
        for entry in os.scandir(directory):
            if entry.name not in shown:
                self.hide(f"{directory.rstrip('/')}/{entry.name}")

    def _write_accounts(self) -> None:
        accounts = self._accounts.values()
        passwd = [f"{a.name}:x:{a.uid}:{a.gid}::{a.home}:{a.shell}\n" for a in accounts]
        # `*` is no password, and unlike `!` no lock either: sshd refuses locked accounts, key or not
        shadow = [f"{a.name}:*:19000:0:99999:7:::\n" for a in accounts]
        group = [f"{name}:x:{gid}:{'postgres' if name == 'ssl-cert' else ''}\n" for name, gid in self._groups.items()]
        for inside, lines, mode in (
            ("/etc/passwd", passwd, 0o644),
            ("/etc/group", group, 0o644),
            ("/etc/shadow", shadow, 0o600),
        ):
            self.file(inside, "".join(lines), mode)

    def _write_identity(self, name: str) -> None:
        for inside, text in (
            ("/etc/hostname", f"{name}\n"),
            ("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n"),
            ("/etc/machine-id", f"{uuid.uuid4().hex}\n"),
            ("/etc/resolv.conf", ""),
            ("/etc/environment", ""),
        ):
            self.file(inside, text)

    def _claim(self, path: Path, mode: int, owner: str) -> None:
        os.chown(path, *self.owner(owner))
        path.chmod(mode)


def _remove_white_out(path: Path) -> None:
    if path.exists() and stat.S_ISCHR(path.lstat().st_mode):
        path.unlink()


def _host_accounts() -> list[Account]:
    """The machine's system accounts (their programs are the host's programs too) and `ops`; no person's account."""
    accounts = []
    for line in Path("/etc/passwd").read_text().splitlines():
        name, _, uid, gid, _, home, shell = line.split(":")
        if int(uid) < 1000 or name == "nobody":
            accounts.append(Account(name, int(uid), int(gid), home, shell))
    return [*accounts, Account("ops", 1000, 1000, "/home/ops", "/bin/bash")]


def _machine_groups() -> dict[str, int]:
    fields = (line.split(":") for line in Path("/etc/group").read_text().splitlines())
    return {name: int(gid) for name, _, gid, _ in fields if int(gid) < 1000 or name == "nogroup"}
