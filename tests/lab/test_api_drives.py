"""The main job and a switchover, driven by the REST API alone: hosts by their expected keys, two steps, followed as events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from host_reach import needs_own_machines
from panel_person import Person
from panel_real import real_panel, wait_for
from redis_server import RedisServer

from lab import Host, Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="not possible here: redis-server is not installed"),
]


@dataclass
class Api:
    url: str
    token: str

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        named = {"Authorization": f"Bearer {self.token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return requests.request(method, f"{self.url}/api/v1{path}", json=body, headers=named, timeout=30, allow_redirects=False)

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def accepted(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        answer = self.call("POST", path, body, **headers)
        assert answer.status_code == 202, answer.text
        assert answer.headers["Location"].startswith("/api/v1/")
        return answer

    def until(self, path: str, *statuses: str, seconds: float = 60) -> Any:
        found: dict[str, Any] = {}
        end = time.monotonic() + seconds
        while found.get("status") not in statuses:
            assert time.monotonic() < end, json.dumps(found)[:3000]
            time.sleep(0.2)
            found = self.get(path)
        return found

    def planned(self, cluster: str, kind: str, params: Any, **headers: str) -> Any:
        at = self.accepted(f"/clusters/{cluster}/plans", {"kind": kind, "params": params}, **headers).headers["Location"]
        plan = self.until(at.removeprefix("/api/v1"), "planned", "refused", "errored")
        assert plan["status"] == "planned", json.dumps(plan["checks"]) + plan["outcome"]
        return plan

    def followed(self, job: int) -> tuple[list[int], str]:
        """The numbers of the lines as they came by server-sent events, in two sittings, and how the job ended."""
        seen: list[int] = []
        status = self._heard(job, seen, at_most=3)
        if status not in ("succeeded", "failed", "errored", "cancelled", "lost"):
            status = self._heard(job, seen)
        return seen, status

    def _heard(self, job: int, seen: list[int], at_most: int = 10**9) -> str:
        headers = {"Authorization": f"Bearer {self.token}", "Last-Event-ID": str(seen[-1] if seen else 0)}
        status, name = "", ""
        with requests.get(f"{self.url}/api/v1/jobs/{job}/events", headers=headers, stream=True, timeout=60) as stream:
            for line in stream.iter_lines(decode_unicode=True):
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: ") and name == "line":
                    seen.append(json.loads(line[6:])["seq"])
                elif line.startswith("data: ") and name == "status":
                    status = json.loads(line[6:])["status"]
                    if status in ("succeeded", "failed", "errored", "cancelled", "lost"):
                        return status
                if len(seen) >= at_most:
                    return status
        return status


def first_token(person: Person) -> str:
    """Made in the browser's session, as the interactive docs do it."""
    csrf = next(cookie.value for cookie in person._jar if cookie.name.endswith("csrftoken"))
    answer = requests.post(
        f"{person.url}/api/v1/tokens", json={"name": "the lab's test", "role": "administrator"}, cookies=person._jar, timeout=30,
        headers={"X-CSRFToken": csrf, "Referer": person.url},
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


def host_in(name: str, host: Host) -> dict[str, Any]:
    return {
        "name": name, "ssh_host": host.ip, "ssh_port": host.ssh_port, "ssh_user": host.logins[0], "postgres_port": host.pg_port,
        "host_key": host.record.host_key_fingerprint,
    }  # fmt: skip


@pytest.fixture(scope="module")
def panel(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    needs_own_machines(lab)
    with real_panel(tmp_path_factory.mktemp("panel")) as panel:
        yield Api(panel.url.rstrip("/"), first_token(panel.person()))


def test_setup_and_switchover_by_the_api_alone_and_never_twice(lab: Lab, panel: Api) -> None:
    one, two = lab.up("one", "17"), lab.up("two", "17", create=False)
    lab.registry(one, 500)
    access = {"method": "pasted-key", "private_key": lab.key_path.read_text()}
    hosts = [host_in("pg1", one), host_in("pg2", two)]

    # another host key than the expected one is refused, with the one that was shown
    wrong = [hosts[0] | {"host_key": hosts[1]["host_key"]}]
    at = panel.accepted("/clusters", {"name": "other", "hosts": wrong, "access": access}).headers["Location"]
    draft = panel.until(at.removeprefix("/api/v1"), "refused", "done")
    assert draft["status"] == "refused"
    assert hosts[0]["host_key"] in draft["hosts"][0]["error"]
    assert panel.get("/clusters")["items"] == []

    body = {"name": "registry", "hosts": hosts, "access": access, "primary": "pg1"}
    at = panel.accepted("/clusters", body, Idempotency_Key="add").headers["Location"]
    assert panel.accepted("/clusters", body, Idempotency_Key="add").headers["Location"] == at
    draft = panel.until(at.removeprefix("/api/v1"), "refused", "waiting", "done")
    assert draft["status"] == "done", draft

    # the main job; started twice with one key: one job
    setup = panel.planned("registry", "setup", {"primary": "pg1", "standbys": ["pg2"], "rewind_ready": False})
    start = {"plan": setup["id"], "hash": setup["hash"]}
    first = panel.accepted("/clusters/registry/jobs", start, Idempotency_Key="go")
    again = panel.accepted("/clusters/registry/jobs", start, Idempotency_Key="go")
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    seen, status = panel.followed(setup["id"])
    assert status == "succeeded", panel.get(f"/jobs/{setup['id']}")["outcome"]
    assert seen == list(range(1, len(seen) + 1))
    assert [job["id"] for job in panel.get("/jobs?kind=setup")["items"]] == [setup["id"]]

    def is_streaming() -> bool:
        nodes = {node["name"]: node for node in panel.get("/clusters/registry/topology")["nodes"]}
        return nodes["pg2"]["state"] in ("streaming", "idle") and nodes["pg2"]["upstream"] == "pg1"

    wait_for(is_streaming, "pg2 streams, as the API sees it", 60)
    tag = panel.call("GET", "/clusters/registry").headers["ETag"]

    # the switchover, bound to the topology that was read
    switch = panel.planned("registry", "switchover", {"candidate": "pg2"}, If_Match=tag)
    panel.accepted("/clusters/registry/jobs", {"plan": switch["id"], "hash": switch["hash"]}, If_Match=tag)
    _seen, status = panel.followed(switch["id"])
    assert status == "succeeded", panel.get(f"/jobs/{switch['id']}")["outcome"]
    assert two.sql("SELECT pg_is_in_recovery()") == [["f"]]
    assert one.sql("SELECT pg_is_in_recovery()") == [["t"]]
    wait_for(lambda: panel.get("/clusters/registry")["primary"] == "pg2", "the API says who is primary now", 30)

    # what was read before is no ground to act upon
    late = panel.call("POST", "/clusters/registry/plans", {"kind": "switchover", "params": {"candidate": "pg1"}}, If_Match=tag)
    assert (late.status_code, late.json()["type"]) == (409, "urn:pgpanel:problem:topology-moved")
    assert panel.get(f"/jobs/{switch['id']}/incident")["loss"]
