"""Where webhooks and messages about alerts may go. A name is resolved once, its address judged, and `posting` connects to that.

Without this, whoever may enter a URL could have the panel, which stands where databases are administered, talk to what only it
reaches: services on its own machine, hosts of the inner network, the metadata service of a cloud. A name that answers with a public
address when it is checked and with an inner one when it is used (DNS rebinding) gains nothing, since nobody asks a second time.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"https": 443, "http": 80}
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
    )
)  # fmt: skip
"""Of the clouds: they hand out credentials to whoever asks. Refused whatever the settings say."""
SPECIAL = ipaddress.IPv4Network("192.0.0.0/24")
"""Of protocols, none of it a public server; older Pythons take parts of it for public."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefused(ValueError):
    """The panel does not send there. The message says why and what would mend it."""


@dataclass(frozen=True)
class Destination:
    """A URL whose address was checked. `address` is connected to; `host` is what TLS verifies and what the request names."""

    is_tls: bool
    host: str
    port: int
    target: str
    address: str

    @property
    def named(self) -> str:
        """As the Host header says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS["https" if self.is_tls else "http"] else f"{host}:{self.port}"


def allowed_networks() -> list[Network]:
    """Of `PGPANEL_WEBHOOK_NETWORKS`; ValueError for what is none (`pgpanel.checks` says so at the start)."""
    return [ipaddress.ip_network(text) for text in settings.WEBHOOK_NETWORKS]


def check_url(url: str) -> SplitResult:
    """All that can be said without asking a name server: for forms. `AddressRefused` says what is wrong."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        raise AddressRefused(_("This is not a URL.")) from None
    if any(character.isspace() or not character.isprintable() for character in url) or not url.isascii():
        raise AddressRefused(_("A URL has neither spaces nor letters beyond ASCII: write the name as xn--… and the rest with %."))
    if parts.scheme not in _schemes():
        raise AddressRefused(_("Only https:// URLs, so that nobody on the way reads or changes what is sent."))
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        raise AddressRefused(_("A URL with a host, and without a user, a password or a #fragment."))
    if port not in settings.WEBHOOK_PORTS and port != DEFAULT_PORTS[parts.scheme]:
        ports = ", ".join(str(each) for each in settings.WEBHOOK_PORTS)
        raise AddressRefused(_("Port %(port)s is not among those that the panel posts to: %(ports)s (PGPANEL_WEBHOOK_PORTS).") % {
            "port": port, "ports": ports})  # fmt: skip
    if (literal := _literal(parts.hostname)) is not None:
        _require_allowed([literal], parts.hostname)
    return parts


def destination(url: str) -> Destination:
    """The URL with the address to connect to: the first of its name's addresses that may be reached."""
    parts = check_url(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(_("The name %(host)s does not resolve: %(error)s") % {"host": host, "error": error}) from None
    address = _require_allowed([ipaddress.ip_address(str(sockaddr[0])) for *_family, sockaddr in found], host)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme == "https", host, port, target, str(address))


def _schemes() -> tuple[str, ...]:
    return ("https", "http") if settings.WEBHOOK_PLAIN_HTTP else ("https",)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _require_allowed(addresses: Iterable[Address], host: str) -> Address:
    refused: Address | None = None
    for address in addresses:
        if is_allowed(address):
            return address
        refused = refused or address
    text = _(
        "%(host)s is %(address)s: not a public address. If it may be reached, whoever administers the panel's machine names its "
        "network in PGPANEL_WEBHOOK_NETWORKS."
    )
    raise AddressRefused(text % {"host": host, "address": refused})


def is_allowed(address: Address) -> bool:
    """Public, or in a network that the panel's administrator named; judged by the IPv4 address that an IPv6 one carries."""
    inner = _carried(address)
    if inner in METADATA:
        return False
    if any(each in network for each in (address, inner) for network in allowed_networks()):
        return True
    if inner.is_multicast or inner.is_reserved or inner in SPECIAL or _is_tunnel(address):
        return False
    return inner.is_global


def _carried(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_tunnel(address: Address) -> bool:
    """6to4 and Teredo: where they end is written in them, and nobody who receives webhooks lives there."""
    return isinstance(address, ipaddress.IPv6Address) and (address.sixtofour is not None or address.teredo is not None)
