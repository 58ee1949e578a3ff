"""Which panel, and as whom: from the environment, else from a file that only its owner may read. Never from the command line, which
every process of the machine may read.

    ~/.config/pgpanel/client.toml     url = "https://panel.example.net"
                                      token = "pgp_…"
                                      ca = "/etc/ssl/private-ca.pem"      (only for a CA that the system does not know)
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from client.refusals import NotSetUp

LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Where:
    """ca: a file of certificates to trust instead of the system's; "" = the system's."""

    url: str
    token: str = field(repr=False)
    ca: str = ""


def where(environment: Mapping[str, str] = os.environ) -> Where:
    """`NotSetUp` says what is missing, or what is wrong with the file."""
    home = Path(environment.get("XDG_CONFIG_HOME") or "~/.config")
    file = Path(environment.get("PGPANEL_CONFIG") or home / "pgpanel" / "client.toml").expanduser()
    kept = _read(file)
    url = (environment.get("PGPANEL_URL") or kept.get("url", "")).rstrip("/")
    token = environment.get("PGPANEL_TOKEN") or kept.get("token", "")
    ca = environment.get("PGPANEL_CA") or kept.get("ca", "")
    if not url or not token:
        missing = " and ".join(name for name, value in (("PGPANEL_URL", url), ("PGPANEL_TOKEN", token)) if not value)
        raise NotSetUp(f"{missing} not set, nor url and token in {file}. A token is made on the panel's page “API tokens”.")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotSetUp(f"{url} is no address of a panel: https://panel.example.net")
    if parts.scheme == "http" and parts.hostname not in LOCAL:
        raise NotSetUp(f"{url} would send your token unencrypted: use https://, or a tunnel to localhost.")
    return Where(url, token, ca)


def _read(file: Path) -> dict[str, str]:
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if mode & 0o077:
                raise NotSetUp(f"{file} may be read by others (mode {mode:04o}), and it holds a token: chmod 600 {file}")
            found = tomllib.load(opened)
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise NotSetUp(f"{file}: {error}") from None
    return {name: str(value) for name, value in found.items()}
