"""`/metrics` by Prometheus' conventions, and the Grafana dashboard: every metric and label that it names is really there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_world import Api, token_of
from cluster_world import cluster_of_two, person
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from clusters.models import Cluster, NodeState
from monitor.models import Lease, Watcher

DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana" / "pgpanel.json"
UNITS = ("seconds", "bytes", "rounds")
NOT_BASE = ("millisecond", "minute", "hour", "kilobyte", "megabyte", "percent", "_ms", "_mb", "_kb")

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster() -> Cluster:
    found, pg1, pg2 = cluster_of_two()
    now = timezone.now()
    seen = {"seen_at": now, "tried_at": now, "is_reachable": True, "timeline": 3}
    slots = [{"name": "pgpanel_pg2", "is_active": True, "held_bytes": 4096}]
    primary = {"is_the_primary": True, "state": "primary", "slots": slots}
    NodeState.objects.update_or_create(node=pg1, defaults=seen | {"is_writable": True, "sample": primary})
    lag = {"state": "streaming", "replay_bytes": 20_000, "replay_seconds": 0.5, "flush_bytes": 0}
    NodeState.objects.update_or_create(node=pg2, defaults=seen | {"is_writable": False, "sample": lag})
    Lease.objects.update_or_create(cluster=found, defaults={"holder": "panel:1:a", "until": now + timedelta(seconds=9)})
    Watcher.objects.create(holder="panel:1:a", began_at=now, said_at=now, capacity=600, behind_seconds=0.02)
    return found


@pytest.fixture
def text(cluster: Cluster) -> str:
    return Api(token_of(person("ana", "viewer"), "viewer")).get("/metrics").content.decode()


def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_every_metric_has_the_panel_s_prefix_a_help_and_base_units_at_its_end(text: str) -> None:
    found = families(text)
    assert len(found) > 10
    for name, family in found.items():
        assert re.fullmatch(r"pgpanel_[a-z]+(_[a-z]+)*", name), name
        assert family.documentation.endswith("."), name
        assert family.type == "gauge", name
        assert not any(word in name for word in NOT_BASE), name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket")), f"{name} is no counter"
        for unit in UNITS:
            assert unit not in name or name.endswith(unit), f"the unit of {name} stands at its end"


def test_no_sample_is_there_twice(text: str) -> None:
    samples = [
        (sample.name, tuple(sorted(sample.labels.items()))) for family in families(text).values() for sample in family.samples
    ]
    assert len(samples) == len(set(samples))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="not possible here: promtool is not installed")
def test_promtool_has_nothing_to_say(text: str) -> None:
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_whether_a_cluster_is_watched_and_how_late_the_collector_is_are_metrics(text: str) -> None:
    found = families(text)
    assert [(sample.labels, sample.value) for sample in found["pgpanel_cluster_is_watched"].samples] == [
        ({"cluster": "registry"}, 1.0)
    ]
    assert [sample.value for sample in found["pgpanel_collector_behind_seconds"].samples] == [0.02]


def expressions(board: dict[str, Any]) -> list[str]:
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [note["expr"] for note in board["annotations"]["list"]]
    return [*found, *(variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query")]


def test_the_dashboard_names_only_metrics_and_labels_that_are_there(text: str) -> None:
    found = families(text)
    labels = {label for family in found.values() for sample in family.samples for label in sample.labels}
    board = json.loads(DASHBOARD.read_text())
    named = {name for expression in expressions(board) for name in re.findall(r"pgpanel_\w+", expression)}
    assert named <= set(found)
    assert set(found) - named <= {"pgpanel_node_is_writable", "pgpanel_node_state"}, "a metric that no panel shows"
    used = {
        label
        for panel in board["panels"]
        for target in panel["targets"]
        for label in re.findall(r"{{(\w+)}}", target["legendFormat"])
    }
    used |= {label for expression in expressions(board) for label in re.findall(r"[{,](\w+)=", expression)}
    assert used <= labels


def test_the_dashboard_s_panels_have_names_and_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = [(x, y) for panel in panels for at in [panel["gridPos"]] for x in range(at["x"], at["x"] + at["w"])
              for y in range(at["y"], at["y"] + at["h"])]  # fmt: skip
    assert len(places) == len(set(places))
    assert max(x for x, _y in places) < 24
