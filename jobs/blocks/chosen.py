"""The part of the managed block that people chose by `set_parameter`: the same on every node, kept by every kind that writes it.

It stands last in the block, behind a line of its own, so that it wins over what the panel would say of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from remote import config

CHOSEN = "# chosen by people, the same on every node:"

_ROLES = "a switchover, a promotion and “Point elsewhere” write it, for the node's role"
_SETUP = "“Set up replication” writes it, from what it is told there"
MANAGED: dict[str, str] = {
    **dict.fromkeys(("primary_conninfo", "primary_slot_name", "recovery_target_timeline", "standby_mode"), _ROLES),
    **dict.fromkeys(("trigger_file", "promote_trigger_file", "recovery_end_command", "hot_standby"), _ROLES),
    **dict.fromkeys(("wal_level", "wal_log_hints", "archive_mode", "archive_command", "archive_library"), _SETUP),
    **dict.fromkeys(("restore_command", "archive_cleanup_command"), _SETUP),
    **dict.fromkeys(("wal_keep_size", "wal_keep_segments", "max_slot_wal_keep_size"), f"{_SETUP} (“at most so much WAL is kept”)"),
    **dict.fromkeys(("port", "listen_addresses"), "it belongs to one node: change it in that node's own files and on its page"),
    **dict.fromkeys(
        ("data_directory", "config_file", "hba_file", "ident_file", "external_pid_file", "unix_socket_directories", "cluster_name",
         "unix_socket_directory"),
        "it belongs to one node, and says where its things lie",
    ),
    "application_name": "each connection says its own, and the server's is nobody's",
    "synchronous_standby_names": "it belongs to the primary: set it there by ALTER SYSTEM; a switchover carries it over",
}  # fmt: skip
"""What is not chosen this way, and who says it instead."""


def chosen_in(text: str) -> dict[str, str]:
    """name → value of a postgresql.conf; none where the block's markers are damaged (the preflight says so in its own words)."""
    try:
        block = config.block_of(text)
    except config.ConfigDamaged:
        return {}
    if block is None or CHOSEN not in block.lines:
        return {}
    found = config.parse_settings("\n".join(block.lines[block.lines.index(CHOSEN) :]))
    return {name: value for name, value in found.items() if name not in MANAGED}


def panel_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The block's lines without that part."""
    return tuple(lines[: lines.index(CHOSEN)]) if CHOSEN in lines else tuple(lines)


def chosen_lines(chosen: Mapping[str, str]) -> tuple[str, ...]:
    return (CHOSEN, *config.setting_lines(dict(sorted(chosen.items())))) if chosen else ()


def is_enough(name: str, chosen: str, needed: str) -> bool:
    """A number that people chose is not less than what the nodes themselves need (one sender and slot a standby)."""
    if name not in ("max_wal_senders", "max_replication_slots") or not (chosen.isdigit() and needed.isdigit()):
        return True
    return int(chosen) >= int(needed)
