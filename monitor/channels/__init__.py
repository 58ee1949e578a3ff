"""The ways to wake somebody. A new one: a module with its kind, and its line here; nobody else asks for a kind by name."""

from __future__ import annotations

from monitor.channels import chat, email, ntfy, pushover
from monitor.channels.contract import ChannelKind, KindForm, NotSent

__all__ = ["CHANNELS", "ChannelKind", "KindForm", "NotSent"]

ALL: tuple[ChannelKind, ...] = (email.CHANNEL, chat.SLACK, chat.MATTERMOST, chat.TEAMS, ntfy.CHANNEL, pushover.CHANNEL)
CHANNELS = {each.kind: each for each in ALL}
