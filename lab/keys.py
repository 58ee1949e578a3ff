"""The secrets of a lab: one login key, one password, one certificate, made anew with every lab and gone with it."""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import machine


@dataclass(frozen=True)
class LabKeys:
    directory: Path

    @property
    def key_path(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def public_key(self) -> str:
        return Path(f"{self.key_path}.pub").read_text()

    @property
    def password(self) -> str:
        """Of the database role `registry`, and of the account `ops` where password login is on."""
        return (self.directory / "password").read_text()

    @property
    def pgpass_path(self) -> Path:
        """The same password for libpq (PGPASSFILE), so that it stands on no command line."""
        return self.directory / "pgpass"

    @property
    def certificate_path(self) -> Path:
        return self.directory / "snakeoil.pem"

    @property
    def certificate_key_path(self) -> Path:
        return self.directory / "snakeoil.key"

    def make(self, lab_name: str) -> None:
        self.directory.mkdir(mode=0o700)
        make_ssh_key(self.key_path, f"lab {lab_name}")
        password = secrets.token_urlsafe(18)
        for file, content in (("password", password), ("pgpass", f"*:*:*:registry:{password}\n")):
            path = self.directory / file
            path.touch(0o600)
            path.write_text(content)
        kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"]
        files = ["-keyout", str(self.certificate_key_path), "-out", str(self.certificate_path)]
        request = [machine.program("openssl"), "req", *kind, "-subj", f"/CN={lab_name}", *files]
        subprocess.run(request, check=True, capture_output=True)


def make_ssh_key(path: Path, comment: str) -> str:
    """A new ed25519 key without passphrase; returns its fingerprint (SHA256:…)."""
    keygen = machine.program("ssh-keygen")
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True)
    shown = subprocess.run([keygen, "-l", "-f", f"{path}.pub"], check=True, capture_output=True, text=True).stdout
    return shown.split()[1]
