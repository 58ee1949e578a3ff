"""A receiver is told of a switchover by the panel's own processes, though it is down for a while and Redis dies meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import jsonschema_rs
import pytest
import requests
from panel_real import RealPanel, add_cluster, real_panel, wait_for
from redis_server import RedisServer
from webhook_receiver import Receiver

from webhooks.catalog import schema

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]
TOKEN = """
from accounts.models import User
from clusters import tokens
admin = User.objects.get(username="admin")
print(tokens.token_create(admin, admin, "webhooks", "administrator")[1])
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def panel(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealPanel]:
    """Its administrator allows this machine, as for a receiver of one's own."""
    allowed = {"NETWORKS": "127.0.0.0/8", "PORTS": str(receiver.port), "PLAIN_HTTP": "1"}
    for name, value in allowed.items():
        monkeypatch.setenv(f"PGPANEL_WEBHOOK_{name}", value)
    with real_panel(tmp_path_factory.mktemp("panel")) as made:
        yield made


def test_a_switchover_is_told_to_a_receiver_that_was_down_while_redis_died(
    panel: RealPanel, receiver: Receiver, new_lab: Any
) -> None:
    lab = new_lab()
    hosts = {"pg1": lab.up("pg1"), "pg2": lab.up("pg2", create=False)}
    token = panel.manage("shell", "--no-imports", "-c", TOKEN, capture=True).split()[-1]
    api = requests.Session()
    api.headers["Authorization"] = f"Bearer {token}"
    made = api.post(f"{panel.url}api/v1/webhooks", json={"name": "desk", "url": receiver.url}, timeout=30).json()

    def types() -> list[str]:
        return [one.said["type"] for one in receiver.received if one.said["type"] not in ("job.planned", "job.started")]

    add_cluster(panel, lab, "shop", hosts)
    archive = "true" if lab.backend == "namespaces" else "false"
    words = [word for each in ("primary=pg1", "standbys=pg2", f"archive={archive}") for word in ("--set", each)]
    panel.manage("job", "run", "setup", "--cluster", "shop", *words, "--yes", capture=True)
    wait_for(lambda: {"cluster.added", "node.added", "job.finished", "cluster.changed"} <= set(types()), "the set-up is told")

    receiver.manner = "503"
    panel.manage("job", "run", "switchover", "--cluster", "shop", "--set", "candidate=pg2", "--yes", capture=True)
    seen = len(receiver.received)
    wait_for(lambda: len(receiver.received) > seen, "it is tried in vain", 60)
    with suppress(ProcessLookupError):
        os.killpg(panel.group_of("redis-server"), signal.SIGKILL)
    receiver.received.clear()
    receiver.manner = "takes"
    wait_for(lambda: "job.ended" in types() and is_pg2_told(receiver), "it is told after all", 120)
    for one in receiver.received:
        assert one.is_signed_with(made["secret"])
        jsonschema_rs.validate(schema(), one.said)
    ended = next(one.said["data"] for one in receiver.received if one.said["type"] == "job.ended")
    assert (ended["ending"], ended["timeline_after"]) == ("done", ended["timeline_before"] + 1)

    def is_all_taken() -> bool:
        rows = panel.rows("SELECT status FROM webhooks_delivery")
        return bool(rows) and {row["status"] for row in rows} == {"delivered"}

    wait_for(is_all_taken, "nothing is left over", 120)
    deliveries = api.get(f"{panel.url}api/v1/webhooks/{made['id']}/deliveries?limit=500", timeout=30).json()["items"]
    assert any(attempt["status_code"] == 503 for one in deliveries for attempt in one["attempts"])
    assert made["secret"] not in "".join(panel.logs().values())


def is_pg2_told(receiver: Receiver) -> bool:
    changes = [one.said["data"] for one in receiver.received if one.said["type"] == "cluster.changed"]
    return any(change["after"]["primary"] == "pg2" for change in changes)
