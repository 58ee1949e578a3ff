"""The check for Nagios and Icinga: states, thresholds, performance data; and the plugin against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_world import Api, token_of
from cluster_world import cluster_of_two, person
from django.utils import timezone
from real_server import real_server

from clusters.models import Cluster, NodeState
from monitor.nagios import Checked, Threshold, checked
from monitor.standing import standing_of

PLUGIN = Path(__file__).resolve().parents[2] / "bin" / "check_pgpanel"
NONE = Threshold()

pytestmark = pytest.mark.django_db


def seen(cluster: Cluster, name: str, state: str, *, age: float = 0.5, **sample: Any) -> None:
    at = timezone.now() - timedelta(seconds=age)
    is_primary = state == "primary"
    NodeState.objects.update_or_create(node=cluster.nodes.get(name=name), defaults={
        "tried_at": at, "seen_at": at, "is_reachable": True, "is_writable": is_primary,
        "role": "primary" if is_primary else "standby",
        "sample": {"state": state, "is_the_primary": is_primary} | sample,
    })  # fmt: skip


@pytest.fixture
def cluster() -> Cluster:
    found = cluster_of_two()[0]
    seen(found, "pg1", "primary")
    seen(found, "pg2", "idle", replay_bytes=0, replay_seconds=0.0)
    return found


def check(cluster: Cluster, warning: str = "", critical: str = "", only: str = "") -> Checked:
    return checked(standing_of(cluster), Threshold.of(warning), Threshold.of(critical), only)


def test_all_well_is_ok_and_its_numbers_are_performance_data(cluster: Cluster) -> None:
    found = check(cluster, "16MB,30s", "1GB,5min")
    assert (found.state, found.exit_code) == ("ok", 0)
    assert found.summary == "registry: pg1 primary; pg2 caught up, idle, 0 B and 0 ms behind"
    assert found.performance == f"'pg2_lag'=0B;{16 << 20};{1 << 30};0 'pg2_delay'=0s;30;300;0"


@pytest.mark.parametrize(
    ("warning", "critical", "state"),
    [("", "", "ok"), ("10MB", "", "warning"), ("13MB", "", "ok"), ("40s", "", "warning"), ("1GB,40s", "", "warning"),
     ("1MB", "12MB", "critical"), ("1MB", "42s", "critical"), ("1MB", "13MB,43s", "warning"), ("", "1h", "ok")],
)  # fmt: skip
def test_thresholds_are_of_bytes_or_seconds_whichever_is_reached_first(
    cluster: Cluster, warning: str, critical: str, state: str
) -> None:
    seen(cluster, "pg2", "catching-up", replay_bytes=12 << 20, replay_seconds=42.0)
    assert check(cluster, warning, critical).state == state


@pytest.mark.parametrize(
    ("word", "state"), [("stalled", "warning"), ("paused", "warning"), ("disconnected", "critical"), ("unreachable", "critical")]
)
def test_some_states_are_bad_whatever_the_thresholds(cluster: Cluster, word: str, state: str) -> None:
    seen(cluster, "pg2", word, replay_bytes=0, replay_seconds=0.0)
    assert check(cluster, "1TB", "1TB").state == state


def test_what_is_not_known_is_unknown_and_never_nought(cluster: Cluster) -> None:
    seen(cluster, "pg2", "streaming", replay_bytes=None, replay_seconds=None)
    found = check(cluster, "1MB")
    assert found.state == "unknown"
    assert found.performance == "'pg2_lag'=U;1048576;;0 'pg2_delay'=U;;;0"


def test_when_nobody_looks_any_more_it_is_unknown_whatever_was_last_seen(cluster: Cluster) -> None:
    seen(cluster, "pg1", "primary", age=60)
    seen(cluster, "pg2", "idle", age=60, replay_bytes=0, replay_seconds=0.0)
    found = check(cluster)
    assert found.state == "unknown"
    assert "'pg2_lag'=U" in found.performance


def test_without_a_primary_it_is_critical_and_that_stands_first(cluster: Cluster) -> None:
    seen(cluster, "pg1", "streaming", replay_bytes=0, replay_seconds=0.0)
    found = check(cluster)
    assert found.state == "critical"
    assert found.summary.startswith("registry: no primary is seen; ")


def test_a_second_primary_is_critical(cluster: Cluster) -> None:
    NodeState.objects.filter(node__name="pg2").update(role="primary", sample={"state": "primary"})
    assert check(cluster).state == "critical"


def test_a_cluster_without_a_standby_is_a_warning(cluster: Cluster) -> None:
    cluster.nodes.get(name="pg2").delete()
    assert check(cluster).state == "warning"


def test_of_one_node_only_that_one_counts(cluster: Cluster) -> None:
    seen(cluster, "pg2", "disconnected", replay_bytes=5, replay_seconds=5.0)
    assert check(cluster, only="pg1").state == "ok"
    assert check(cluster, only="pg2").state == "critical"


def test_the_endpoint_refuses_thresholds_that_are_none_and_nodes_that_are_not_there(cluster: Cluster) -> None:
    api = Api(token_of(person("ana", "viewer", cluster), "viewer"))
    assert api.get("/clusters/registry/check?warning=16MB,30s").json()["state"] == "ok"
    assert api.get("/clusters/registry/check?warning=lots").status_code == 422
    assert api.get("/clusters/registry/check?node=pg9").status_code == 404
    assert Api(token_of(person("bob"), "viewer")).get("/clusters/registry/check").status_code == 404


# -- the plugin ----------------------------------------------------------------------------------------------------------------


def plugin(*arguments: str, **environment: str) -> tuple[int, str]:
    """By the system's own Python, without anything of the panel's."""
    done = subprocess.run(
        [sys.executable, "-I", str(PLUGIN), *arguments], env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.django_db(transaction=True)
def test_the_plugin_says_what_the_panel_says_with_the_usual_exit_codes(cluster: Cluster, tmp_path: Path) -> None:
    secret = token_of(person("ana", "viewer", cluster), "viewer")
    file = tmp_path / "token"
    file.write_text(f"{secret}\n")
    file.chmod(0o640)
    with real_server() as (host, port):
        common = ("--url", f"http://{host}:{port}", "--cluster", "registry", "--token-file", str(file))
        code, text = plugin(*common, "-w", "16MB,30s")
        assert (code, text.split(" - ")[0]) == (0, "PGPANEL OK")
        assert " | 'pg2_lag'=0B;16777216;;0 " in text
        seen(cluster, "pg2", "catching-up", replay_bytes=20 << 20, replay_seconds=42.0)
        assert plugin(*common, "-w", "16MB", "-c", "1GB")[0] == 1
        assert plugin(*common, "-w", "16MB", "-c", "40s")[0] == 2
        assert plugin(*common, "-n", "pg1")[0] == 0
        assert plugin(*common[:4], PGPANEL_TOKEN=secret)[0] == 0
        code, text = plugin(*common[:4], PGPANEL_TOKEN="pgp_wrong")
        assert (code, "401" in text) == (3, True)
        assert plugin(*common, "-w", "lots")[0] == 3
        file.chmod(0o644)
        code, text = plugin(*common)
        assert (code, "can be read by everybody" in text) == (3, True)
        assert secret not in text


def test_the_plugin_is_unknown_when_the_panel_is_away_or_it_is_called_wrongly() -> None:
    assert plugin("--url", "http://127.0.0.1:1", "--cluster", "registry")[0] == 3
    assert plugin("--cluster", "registry")[0] == 3
    assert plugin("--nonsense")[0] == 3
    assert plugin("--help")[0] == 0
