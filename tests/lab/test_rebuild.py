"""Kind `rebuild` on real hosts: what was left behind becomes a standby again, and what only it had stays readable."""

from __future__ import annotations

from typing import Any

import pytest
from parted import BOTH, LOST_ROWS, is_alike, pair, part, read, streaming

from lab import Lab

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(("postgres", "layout"), [("15", "debian"), ("11", "cocca"), ("17", "custom")])
def test_a_crashed_primary_with_rows_of_its_own_is_rewound_and_they_stay_readable(new_lab: Any, postgres: str, layout: str) -> None:
    lab: Lab = new_lab()
    room = pair(lab, postgres, layout)
    pg1, pg2 = room.hosts["pg1"], room.hosts["pg2"]
    part(room)
    plan = room.run("rebuild", {"node": "pg1"}, BOTH, job="job-2")
    assert "rebuilt by pg_rewind" in plan.summary[0]
    assert "standby.rewind#pg1" in room.acted()
    assert streaming(pg2) == [["pg1", "streaming"]]
    assert is_alike(room)
    assert pg2.sql("SELECT rolname FROM pg_roles WHERE rolname = 'pgpanel_rewind'") == []
    assert "pgpanel-rewind" not in pg2.run(["cat", f"{pg2.config_directory}/pg_hba.conf"]).stdout
    rows = read(room, "job-2", "rows")
    assert "table kept" in rows, rows
    assert rows.count("lost") >= 10
    lines = rows.splitlines()
    begin = next(number for number, line in enumerate(lines) if "table kept" in line)
    assert lines[begin + 2 : begin + 2 + LOST_ROWS] == [str(number) for number in range(1, LOST_ROWS + 1)]
    assert not pg1.run(f"ls '{pg1.data_directory}.old-job-2/postmaster.pid'", check=False).stdout
    assert [key for key, _how in room.walked if key.startswith("proof.")]
    again, _world = room.plan("rebuild", {"node": "pg2"}, BOTH, job="job-3")
    assert again.is_refused
