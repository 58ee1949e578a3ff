"""The Brief of a job: what its kind plans from besides facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clusters import services as clusters
from clusters.models import Cluster, Node, Quarantine
from clusters.observing import memory_of
from jobs.models import Job, JobStep
from jobs.recipe import Brief, NodeSpec
from remote.command import Secret

ROLES = {"replication": "pgpanel_replication", "monitoring": "pgpanel_monitor"}
"""Purpose of a database role and its name where the parameters (`<purpose>_role`) give none."""

ROTATION, ROTATED_BY = "rotate_password", "password.change"
"""The kind that changes a role's password, and its step that gives the server the new one."""


def job_name(job: Job) -> str:
    """The job's own name on hosts and in markers."""
    return f"job-{job.pk}-{job.uuid.hex[:8]}"


def brief_of(job: Job) -> Brief:
    nodes = list(job.cluster.nodes.select_related("credential"))
    return Brief(
        job=job_name(job),
        cluster=job.cluster.name,
        cluster_identifier=job.cluster.system_identifier,
        nodes={node.name: node_spec(node) for node in nodes},
        secrets=_secrets(job, nodes),
        quarantined={
            held.node.name: held.reason
            for held in Quarantine.objects.filter(node__cluster=job.cluster, lifted_at=None).select_related("node")
        },
        memory=memory_of(job.cluster),
    )


def node_spec(node: Node) -> NodeSpec:
    paths = clusters.paths_of(node)
    return NodeSpec(
        name=node.name,
        ssh_host=node.ssh_host,
        address=node.node_address,
        port=node.postgres_port,
        layout=node.layout,
        data_directory=paths.data_directory,
        config_directory=paths.config_directory,
        bin_directory=paths.bin_directory,
        wal_archive_directory=paths.wal_archive_directory,
        owner=paths.owner,
        service=paths.service,
        start_command=paths.start_command,
        stop_command=paths.stop_command,
        restart_command=paths.restart_command,
        log_file=paths.log_file,
        ssh_port=node.ssh_port,
        host_key=node.host_key,
    )


def role_name(params: Mapping[str, Any], purpose: str) -> str:
    return str(params.get(f"{purpose}_role") or ROLES[purpose])


def is_half_rotated(cluster: Cluster, purpose: str) -> bool:
    """A change of this password has given the server the new one and was not finished: every other job must go by the new one."""
    since = clusters.next_role_password_since(cluster, purpose)
    if since is None:
        return False
    changed = JobStep.objects.filter(job__cluster=cluster, job__kind=ROTATION, job__params__purpose=purpose, key=ROTATED_BY)
    return changed.filter(status__in=(JobStep.Status.DONE, JobStep.Status.ALREADY), ended_at__gt=since).exists()


def settle(job: Job) -> None:
    """What a job that has succeeded leaves behind in the panel: part of the same transaction as its ending."""
    if job.kind == ROTATION:
        clusters.role_password_promote(job.cluster, str(job.params["purpose"]))


def _secrets(job: Job, nodes: list[Node]) -> dict[str, Secret]:
    secrets: dict[str, Secret] = {}
    for purpose in ROLES:
        _username, secrets[f"{purpose}_password"] = clusters.role_password(job.cluster, purpose, role_name(job.params, purpose))
        if job.kind == ROTATION and job.params.get("purpose") == purpose:
            secrets[f"{purpose}.next_password"] = clusters.next_role_password(job.cluster, purpose)
        elif is_half_rotated(job.cluster, purpose):
            secrets[f"{purpose}_password"] = replace(clusters.next_role_password(job.cluster, purpose), name=f"{purpose}_password")
    for node in nodes:
        secrets[f"archive_key:{node.name}"], public_line = clusters.archive_key(node)
        # not secret, but it travels with the key: kinds write its value into authorized_keys
        secrets[f"archive_public_key:{node.name}"] = Secret(f"archive public key of {node.name}", public_line)
    return secrets
