"""Where a webhook may go: judged before anything is sent, by the address that is then connected to."""

import ipaddress
import socket

import pytest
from django.test import override_settings

from pgpanel.outgoing import addresses
from pgpanel.outgoing.addresses import AddressRefused, check_url, destination, is_allowed

PUBLIC = "93.184.216.34"


def resolves_to(monkeypatch, *found: str) -> list[str]:
    """Every name does; returns the names that were asked."""
    asked: list[str] = []

    def getaddrinfo(host, port, **_more):
        asked.append(host)
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.5", "172.16.1.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "192.0.0.8",
        "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fc00::1", "fd12::8", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_nothing_that_only_the_panel_reaches_is_reached(address):
    assert not is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses_are(address):
    assert is_allowed(ipaddress.ip_address(address))


@override_settings(WEBHOOK_NETWORKS=["10.20.0.0/16", "fd12::/48"])
@pytest.mark.parametrize(
    ("address", "may"), [("10.20.3.4", True), ("::ffff:10.20.3.4", True), ("fd12::7", True), ("10.21.0.1", False)]
)
def test_a_network_that_the_administrator_named_is_reached_and_no_other(address, may):
    assert is_allowed(ipaddress.ip_address(address)) is may


@override_settings(WEBHOOK_NETWORKS=["0.0.0.0/0", "::/0"])
@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "168.63.129.16", "fd00:ec2::254"])
def test_a_clouds_metadata_is_out_of_reach_whatever_is_named(address):
    assert not is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.net/", "ftp://hooks.example.net/", "file:///etc/passwd", "gopher://x/", "https://", "https:///x", "x",
        "https://user@hooks.example.net/", "https://user:word@hooks.example.net/", "https://hooks.example.net/#part",
        "https://hooks.example.net:22/", "https://hooks.example.net:5432/", "https://hooks.example.net:99999/",
        "https://hooks.example.net/a b", "https://hooks.example.net/\r\nX-Header: 1", "https://hooks.example.net/\x00",
        "https://hööks.example.net/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_a_url_that_must_not_be_is_refused_before_any_name_is_asked(url, monkeypatch):
    asked = resolves_to(monkeypatch, PUBLIC)
    with pytest.raises(AddressRefused):
        destination(url)
    assert asked == []


@pytest.mark.parametrize(
    "url", ["https://localhost/", "https://0x7f000001/", "https://2130706433/", "https://127.1/", "https://inner/"]
)
def test_a_name_that_leads_inside_is_refused_by_what_it_resolves_to(url, monkeypatch):
    resolves_to(monkeypatch, "127.0.0.1")
    with pytest.raises(AddressRefused, match="not a public address"):
        destination(url)


def test_the_address_that_was_checked_is_the_one_that_is_used_and_the_name_stays_for_tls(monkeypatch):
    asked = resolves_to(monkeypatch, "10.0.0.1", PUBLIC)
    place = destination("https://hooks.example.net:8443/in?x=1")
    assert (place.address, place.host, place.port, place.target) == (PUBLIC, "hooks.example.net", 8443, "/in?x=1")
    assert place.named == "hooks.example.net:8443"
    assert asked == ["hooks.example.net"]


def test_a_name_that_does_not_resolve_is_said(monkeypatch):
    def fails(*_words, **_more):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", fails)
    with pytest.raises(AddressRefused, match="does not resolve"):
        destination("https://nowhere.example.net/")


@override_settings(WEBHOOK_PLAIN_HTTP=True, WEBHOOK_PORTS=[8080])
def test_plain_http_and_other_ports_only_where_they_are_switched_on(monkeypatch):
    resolves_to(monkeypatch, PUBLIC)
    assert not destination("http://hooks.example.net/").is_tls
    assert check_url("https://hooks.example.net:8080/").port == 8080
    with pytest.raises(AddressRefused, match="PGPANEL_WEBHOOK_PORTS"):
        check_url("https://hooks.example.net:8443/")
