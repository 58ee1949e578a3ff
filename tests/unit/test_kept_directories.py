"""What a host tells of the directories that rebuilds have put aside, and the script that opens one read-only."""

from __future__ import annotations

import shlex
import subprocess

from jobs.blocks.kept import parse, reader_file, reading_line
from jobs.recipe import NodeSpec
from remote import versions
from remote.command import text_value

SPEC = NodeSpec(
    name="pg1", ssh_host="10.0.0.1", address="10.0.0.1", port=5432, layout="custom", data_directory="/srv/my data",
    config_directory="/srv/my data", bin_directory="/usr/bin", wal_archive_directory="/srv/my wals", owner="postgres",
)  # fmt: skip
ANSWER = """wal 000000010000000000000003
wal 000000020000000000000004
left 1 0/40455D0
history 00000002
old /srv/my data.old-job-9|job=job-9|kept_at=200|until=900|bytes=42|timeline=2|
old /srv/my data.old-job-3|job=job-3|kept_at=100|until=500|bytes=7|timeline=1|
old /srv/my data.old-odd|nonsense|
"""


def test_what_a_host_tells_is_read_oldest_first_and_a_damaged_note_is_no_error() -> None:
    found = parse(ANSWER)
    assert found.wal == ("000000010000000000000003", "000000020000000000000004")
    assert [(switch.timeline, switch.lsn) for switch in found.switches] == [(1, 0x40455D0)]
    assert [(one.job, one.until, one.size_bytes) for one in found.kept] == [("", 0, 0), ("job-3", 500, 7), ("job-9", 900, 42)]
    assert found.kept[1].directory == "/srv/my data.old-job-3"
    assert parse("").kept == ()


def test_the_reading_script_is_a_script_whatever_the_paths_are_called() -> None:
    for major in ("11", "12", "18"):
        text = text_value(reader_file(versions.of(major), SPEC, "/srv/my data.old-job-3", "job-3").text)
        assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
        assert "old='/srv/my data.old-job-3'\n" in text


def test_the_reading_script_takes_back_only_settings_that_its_version_knows() -> None:
    def options(major: str) -> str:
        text = text_value(reader_file(versions.of(major), SPEC, "/srv/my data.old-job-3", "job-3").text)
        return next(line for line in text.splitlines() if line.startswith("options="))

    assert "primary_conninfo" not in options("11")
    assert "promote_trigger_file" in options("15")
    assert "promote_trigger_file" not in options("16")
    assert "recovery_target_timeline=current" in options("12")


def test_the_line_to_paste_is_one_command_of_its_account() -> None:
    words = shlex.split(reading_line(SPEC, "job-3", "rows"))
    assert words[:4] == ["su", "postgres", "-s", "/bin/sh"]
    assert shlex.split(words[5]) == ["/srv/my wals/.pgpanel/read-job-3", "rows"]
