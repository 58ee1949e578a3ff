"""Where the start guard can be hooked, what the hooks say, and that an error of its own never keeps a server from starting."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from remote import guard
from remote.facts import Facts, PathFact
from remote.layouts import COCCA_8, CUSTOM, DEBIAN, RHEL, Paths

SCRIPT = Path(__file__).parents[2] / "jobs/blocks/scripts/guard.sh"
CTL = "#!/bin/sh\nset -e\ncase $1 in start) echo started as $(id -un) ;; stop) echo stopped ;; esac\n"


def facts(paths: dict[str, str] | None = None, **more: object) -> Facts:
    known = {path: PathFact("file", owner="root", mode="0755", text=text) for path, text in (paths or {}).items()}
    usual: dict[str, object] = {"can_become_root": True, "login_user": "root", "tools": {"runuser": "/sbin/runuser"}}
    return Facts(hostname="pg1", paths=known, **(usual | more))  # type: ignore[arg-type]


def cocca(tmp: Path) -> Paths:
    ctl = f"{tmp}/ctl"
    return COCCA_8.paths(
        "11", {"start_command": f"{ctl} start", "restart_command": f"{ctl} restart", "wal_archive_directory": f"{tmp}/wals"}
    )


@pytest.mark.parametrize(
    ("server", "seen", "unit", "script"),
    [
        (DEBIAN.paths("15"), facts(is_systemd=True), "postgresql@15-main", ""),
        (DEBIAN.paths("15"), facts({guard.DEBIAN_INIT: CTL}), "postgresql@15-main", guard.DEBIAN_INIT),
        (RHEL.paths("16"), facts(is_systemd=True), "postgresql-16", ""),
        (COCCA_8.paths("11"), facts({"/opt/cocca-8/postgresql/scripts/ctl": CTL}), "", "/opt/cocca-8/postgresql/scripts/ctl"),
        (CUSTOM.paths("11", {"start_command": "systemctl start pg"}), facts(is_systemd=True), "pg", ""),
    ],
)
def test_it_is_hooked_where_the_server_is_started(server: Paths, seen: Facts, unit: str, script: str) -> None:
    hook = guard.hook_of(server, seen)
    assert (hook.unit, hook.script, hook.why_not) == (unit, script, "")
    assert {hook.drop_in, hook.script} - {""} <= set(guard.paths(server))


@pytest.mark.parametrize(
    ("server", "seen", "said"),
    [
        (CUSTOM.paths("11"), facts(), "neither a unit nor a shell script"),
        (RHEL.paths("16"), facts(), "systemd does not run here"),
        (DEBIAN.paths("15"), facts(is_systemd=True, can_become_root=False, login_user="ops"), "ops may not become root"),
        (DEBIAN.paths("15"), facts(), "/etc/init.d/postgresql is not there"),
        (COCCA_8.paths("11"), facts({"/opt/cocca-8/postgresql/scripts/ctl": "#!/usr/bin/perl\n"}), "is no shell script"),
        (COCCA_8.paths("11"), facts({"/opt/cocca-8/postgresql/scripts/ctl": CTL}, can_become_root=False), "belongs to root"),
        (COCCA_8.paths("11"), facts({"/opt/cocca-8/postgresql/scripts/ctl": f"{CTL}PGPASSWORD=********\n"}), "holds a password"),
    ],
)
def test_where_it_cannot_be_hooked_the_reason_is_said(server: Paths, seen: Facts, said: str) -> None:
    assert said in guard.hook_of(server, seen).why_not
    assert not guard.standing(server, seen).is_guarded


def test_the_block_goes_in_behind_the_first_line_once_and_comes_out_without_a_trace(tmp_path: Path) -> None:
    server = cocca(tmp_path)
    seen = facts({f"{tmp_path}/ctl": CTL})
    block = guard.block_of(server, seen, guard.hook_of(server, seen))
    once = guard.with_block(CTL, block, server)
    assert once.startswith("#!/bin/sh\n# >>> pgpanel")
    assert guard.with_block(once, block, server) == once
    assert guard.without_block(once, server) == CTL
    other = replace(server, wal_archive_directory="/elsewhere/wals")
    both = guard.with_block(once, guard.block_of(other, seen, guard.hook_of(other, seen)), other)
    assert guard.without_block(both, other) == once


@pytest.mark.parametrize(("verb", "asked"), [("start", True), ("restart", True), ("stop", False), ("", False)])
def test_a_script_asks_before_it_starts_the_server_and_only_then(tmp_path: Path, verb: str, asked: bool) -> None:
    server = cocca(tmp_path)
    seen = facts({f"{tmp_path}/ctl": CTL}, tools={})
    own = tmp_path / "wals/.pgpanel"
    own.mkdir(parents=True)
    (own / "guard").write_text("echo asked; exit 3\n")
    again = 'if [ -z "$again" ]; then again=yes exec sh "$0" "$@"; fi\n'  # as CoCCA's calls itself as another account
    block = guard.block_of(replace(server, owner="root"), seen, guard.hook_of(server, seen))
    (tmp_path / "ctl").write_text(guard.with_block(CTL.replace("set -e\n", f"set -e\n{again}"), block, server))
    done = subprocess.run(["sh", tmp_path / "ctl", *filter(None, [verb])], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count("asked") == asked
    assert ("started as" in done.stdout) is (verb == "start")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
@pytest.mark.parametrize("directory", ["/var/lib/postgresql/15/wals", "/srv/with space/50% of $it"])
def test_systemd_takes_the_drop_in(tmp_path: Path, directory: str) -> None:
    server = DEBIAN.paths("15", {"wal_archive_directory": directory})
    unit = tmp_path / "pg.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "pg.service.d").mkdir()
    (tmp_path / "pg.service.d/pgpanel-guard.conf").write_text(guard.drop_in_text(server, facts()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "pgpanel-guard" in done.stderr) == (0, False), done.stderr


def run_guard(own: Path) -> subprocess.CompletedProcess[str]:
    shutil.copy(SCRIPT, own / "guard")
    return subprocess.run(
        ["sh", own / "guard"], capture_output=True, text=True, timeout=30, check=False, env={"PATH": os.environ["PATH"]}
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (None, "it ended with 2"),
        ("data='\n", "it ended with 2"),
        ("data=DATA bin=/nowhere signal=standby.signal seconds=0 boot_seconds=0", "pg_controldata cannot read"),
    ],
)
def test_whatever_is_wrong_with_it_the_server_starts_and_a_file_says_so(tmp_path: Path, settings: str | None, said: str) -> None:
    (tmp_path / "PG_VERSION").write_text("15\n")
    (tmp_path / "guard.peers").write_text("")
    if settings is not None:
        (tmp_path / "guard.settings").write_text(settings.replace("DATA", str(tmp_path)).replace(" ", "\n") + "\n")
    done = run_guard(tmp_path)
    assert done.returncode == 0
    assert said in (tmp_path / "guard.failed").read_text()
    assert not (tmp_path / "standby.signal").exists()


def test_it_can_be_switched_off_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "guard.settings").write_text(f"data={tmp_path}\n")
    (tmp_path / "guard.off").touch()
    assert run_guard(tmp_path).returncode == 0
    assert "switched off" in (tmp_path / "guard.said").read_text()
