"""Which finished jobs let a node out of quarantine, and which put it back."""

from __future__ import annotations

import pytest
from operation_world import three

from clusters.models import Quarantine
from clusters.signals import job_finished
from jobs.models import Job

pytestmark = pytest.mark.django_db


def ended(cluster, kind: str, status: str = "succeeded") -> None:
    job = Job.objects.create(cluster=cluster, kind=kind, params={"node": "pg1"}, status=status, title=kind)
    job_finished.send(Job, job_id=job.pk, cluster_id=cluster.pk, kind=kind, status=status)


def held(cluster) -> list[str]:
    return list(Quarantine.objects.filter(node__cluster=cluster, lifted_at=None).values_list("node__name", flat=True))


@pytest.fixture
def cluster():
    found = three()
    for name in ("pg1", "pg3"):
        Quarantine.objects.create(node=found.nodes.get(name=name), reason="promoted away from")
    return found


def test_a_rebuild_lets_its_node_out_of_quarantine_and_no_other(cluster):
    ended(cluster, "rebuild", "failed")
    assert held(cluster) == ["pg1", "pg3"]
    ended(cluster, "restart")
    assert held(cluster) == ["pg1", "pg3"]
    ended(cluster, "rebuild")
    assert held(cluster) == ["pg3"]


def test_undoing_a_rebuild_puts_it_back_into_quarantine(cluster):
    ended(cluster, "rebuild")
    ended(cluster, "undo_rebuild")
    assert sorted(held(cluster)) == ["pg1", "pg3"]
    ended(cluster, "undo_rebuild")
    assert sorted(held(cluster)) == ["pg1", "pg3"]
