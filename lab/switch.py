"""The switch of a lab: a bridge in a network namespace of its own, one port per host, one to the machine (the panel).

In a namespace of its own, so that the machine's firewall (Docker's, say) has no say in what hosts send each other.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import machine
from lab.errors import LabError


@dataclass(frozen=True)
class Switch:
    number: int

    @property
    def namespace(self) -> str:
        return f"pglab{self.number}"

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(f"10.99.{self.number}.0/24")

    def exists(self) -> bool:
        return Path("/run/netns", self.namespace).exists()

    def make(self) -> None:
        _ip(["netns", "add", self.namespace])
        self._configure(
            "link set lo up",
            "link add br0 type bridge forward_delay 0",
            "link set br0 up",
            f"link add machine type veth peer name {self.namespace} netns {os.getpid()}",
            "link set machine master br0 up",
        )
        _ip_batch([f"addr add {self.network[1]}/24 dev {self.namespace}", f"link set {self.namespace} up"])

    def remove(self) -> None:
        """Takes every port and the machine's end of the cable with it."""
        if self.exists():
            subprocess.run([machine.program("ip"), "link", "del", self.namespace], capture_output=True, check=False)
            _ip(["netns", "del", self.namespace])

    def plug(self, ip: str, pid: int, rate: str | None, is_cut: bool) -> None:
        """Connect a host that has just been switched on; its address and its faults are as they were before."""
        port = _port(ip)
        # The MAC address follows from the IP: a remade host must not wait for its neighbours' ARP entries to age.
        mac = "02:50:" + ":".join(f"{int(part):02x}" for part in ip.split("."))
        self._configure(
            f"link add {port} type veth peer name eth0 address {mac} netns {pid}",
            f"link set {port} master br0",
            *([] if is_cut else [f"link set {port} up"]),
        )
        host = ["nsenter", f"--net=/proc/{pid}/ns/net"]
        _ip_batch(["link set lo up", f"addr add {ip}/24 dev eth0", "link set eth0 up"], prefix=host)
        if rate is not None:
            self.rate(ip, pid, rate)

    def unplug(self, ip: str) -> None:
        """The cable is pulled and gone. Nothing that the host's sockets still say is heard by anyone."""
        unplug = [machine.program("ip"), "-n", self.namespace, "link", "del", _port(ip)]
        subprocess.run(unplug, capture_output=True, check=False)

    def cut(self, ip: str) -> None:
        self._configure(f"link set {_port(ip)} down")

    def heal(self, ip: str) -> None:
        self._configure(f"link set {_port(ip)} up")

    def rate(self, ip: str, pid: int, rate: str | None) -> None:
        """Limit both directions of a host's link ("200mbit"), or lift the limit (None)."""
        switch_side = ["nsenter", f"--net=/run/netns/{self.namespace}", machine.program("tc")]
        host_side = ["nsenter", f"--net=/proc/{pid}/ns/net", machine.program("tc")]
        for tc, device in ((switch_side, _port(ip)), (host_side, "eth0")):
            subprocess.run([*tc, "qdisc", "del", "dev", device, "root"], capture_output=True, check=False)
            if rate is not None:
                bucket = ["tbf", "rate", rate, "burst", "256k", "latency", "100ms"]
                _run([*tc, "qdisc", "add", "dev", device, "root", *bucket])

    def set_splits(self, pairs: list[tuple[str, str]]) -> None:
        """Drop what these pairs of addresses send each other; all else passes. Replaces the earlier pairs."""
        drops = [
            f"add rule bridge split forward ip saddr {here} ip daddr {there} drop"
            for one, other in pairs
            for here, there in ((one, other), (other, one))
        ]
        rules = [
            "add table bridge split",
            "delete table bridge split",
            "add table bridge split",
            "add chain bridge split forward { type filter hook forward priority 0; }",
            *drops,
        ]
        nft = ["nsenter", f"--net=/run/netns/{self.namespace}", machine.program("nft"), "-f", "-"]
        _run(nft, said="\n".join(rules) + "\n")

    def _configure(self, *lines: str) -> None:
        _ip_batch(list(lines), options=["-n", self.namespace])


def _port(ip: str) -> str:
    return "port" + ip.rpartition(".")[2]


def _ip(arguments: list[str]) -> None:
    _run([machine.program("ip"), *arguments])


def _ip_batch(lines: list[str], options: list[str] | None = None, prefix: list[str] | None = None) -> None:
    command = [*(prefix or []), machine.program("ip"), *(options or []), "-batch", "-"]
    _run(command, said="\n".join(lines) + "\n")


def _run(argv: list[str], said: str = "") -> None:
    done = subprocess.run(argv, input=said, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip()}\n{said}".rstrip())
