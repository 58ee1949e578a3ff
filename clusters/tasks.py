"""Celery's doors to looking at hosts (queue `plans`): a page starts one and shows its answer when it is there."""

from __future__ import annotations

import logging

from celery import shared_task
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError

from accounts.audit import record
from clusters import drafts, fencing, observing, services, unattended
from clusters.looks import Target, look_at
from clusters.models import Cluster, Draft, DraftHost, Evidence, Node, NodeState
from pgpanel import live
from remote.facts import Unreachable

log = logging.getLogger(__name__)


@shared_task(name="clusters.tasks.look_at_draft", ignore_result=True)
def look_at_draft(draft_id: int) -> None:
    draft = Draft.objects.filter(pk=draft_id).first()
    if draft is not None:
        drafts.draft_look(draft)
        unattended.go_on(draft)


@shared_task(name="clusters.tasks.look_at_node", ignore_result=True)
def look_at_node(node_id: int) -> None:
    node = Node.objects.select_related("cluster", "credential").filter(pk=node_id).first()
    if node is None:
        return
    look = look_at(Target(node.name, services.access_of(node), services.facts_request_of(node)))
    if look.offered:
        services.remember_offer(node, look.offered, is_jump=look.is_jump)
    services.remember_facts(node, look.facts or Unreachable("host-key", _("Its host key has not been accepted yet.")))


@shared_task(name="clusters.tasks.gather_evidence", ignore_result=True)
def gather_evidence(cluster_id: int) -> None:
    """Ask everybody about the primary; the pages that wait for it hear `evidence` on the cluster's topic."""
    cluster = Cluster.objects.filter(pk=cluster_id).first()
    if cluster is None:
        return
    try:
        observing.gather(cluster)
    except Exception as error:
        log.exception("evidence could not be gathered")
        Evidence.objects.filter(cluster=cluster).update(asked_at=None, error=f"{type(error).__name__}: {error}")
    live.publish(f"cluster:{cluster_id}", "evidence", {})


@shared_task(name="clusters.tasks.test_fence", ignore_result=True)
def test_fence(node_id: int) -> None:
    node = Node.objects.select_related("fence_secret").filter(pk=node_id).first()
    if node is not None:
        fencing.fence_test(node)


@shared_task(name="clusters.tasks.forget_typed_passwords", ignore_result=True)
def forget_typed_passwords() -> None:
    """A password that was to be used once is not kept in a draft that nobody finished."""
    drafts.forget_typed_passwords()


def start_fence_test(node: Node) -> None:
    """Asked once at a time; what it says stands on the node afterwards."""
    Node.objects.filter(pk=node.pk).update(fence_asked_at=timezone.now())
    record("fence.test", node.name, cluster=node.cluster.name)

    def start() -> None:
        try:
            test_fence.delay(node.pk)
        except OperationalError:
            log.exception("the queue cannot be reached")
            said = _("The panel's queue (Redis) cannot be reached, so nobody tests.")
            Node.objects.filter(pk=node.pk).update(fence_asked_at=None, fence_test_works=False, fence_test_output=said)

    transaction.on_commit(start)


def start_gathering(cluster: Cluster) -> None:
    def start() -> None:
        try:
            gather_evidence.delay(cluster.pk)
        except OperationalError:
            log.exception("the queue cannot be reached")
            error = _("The panel's queue (Redis) cannot be reached, so nobody asks.")
            Evidence.objects.filter(cluster=cluster).update(asked_at=None, error=error)

    transaction.on_commit(start)


def start_look_at_draft(draft: Draft) -> None:
    """Once the transaction is through. Without a queue the hosts say so instead of being asked for ever."""

    def start() -> None:
        try:
            look_at_draft.delay(draft.pk)
        except OperationalError:
            log.exception("the queue cannot be reached")
            draft.hosts.filter(status=DraftHost.Status.ASKING).update(
                status=DraftHost.Status.REFUSED, error=_("The panel's queue (Redis) cannot be reached, so nobody looks."),
                mend=_("Start Redis and the worker, then look again."),
            )  # fmt: skip

    transaction.on_commit(start)


def start_look_at_node(node: Node) -> None:
    def start() -> None:
        try:
            look_at_node.delay(node.pk)
        except OperationalError:
            log.exception("the queue cannot be reached")
            error = _("The panel's queue (Redis) cannot be reached, so nobody looks.")
            NodeState.objects.update_or_create(node=node, defaults={"tried_at": timezone.now(), "error": error})

    transaction.on_commit(start)
