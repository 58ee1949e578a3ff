"""The ways to wake somebody. A new one: a module with `CHANNEL`, and its line here; nobody else asks for a kind by name."""

from __future__ import annotations

from monitor.channels.contract import ChannelKind, NotSent
from monitor.channels.email import CHANNEL as EMAIL

__all__ = ["CHANNELS", "ChannelKind", "NotSent"]

CHANNELS: dict[str, ChannelKind] = {EMAIL.kind: EMAIL}
