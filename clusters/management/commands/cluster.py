"""`manage.py cluster add | import | add-node | list | show | look`: the same services as the pages, for scripts and the demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from clusters import dangers, drafts, findings, services
from clusters.credentials import KeyUnreadable
from clusters.looks import Target, line_to_paste, look_at_all
from clusters.models import Cluster, Draft, DraftHost, Node

NODE_KEYS = {
    "name": "name", "ssh": "ssh_host", "port": "ssh_port", "user": "ssh_user", "address": "node_address",
    "pg-port": "postgres_port",
    "jump": "jump_host", "jump-port": "jump_port", "jump-user": "jump_user",
}  # fmt: skip
PATH_KEYS = {
    "layout": "layout", "data": "data_directory", "config": "config_directory", "bin": "bin_directory",
    "archive": "wal_archive_directory",
    "owner": "owner", "service": "service",
}  # fmt: skip
KINDS = {"add": Draft.Kind.SETUP, "import": Draft.Kind.IMPORT, "add-node": Draft.Kind.ADD_NODE}
NUMBERS = ("ssh_port", "postgres_port", "jump_port")
NODE_HELP = f"name=pg1,ssh=10.0.0.1,user=root,key-file=… and: {', '.join([*NODE_KEYS, *PATH_KEYS, 'password-file'])}"


class Command(BaseCommand):
    help = "Clusters and their nodes: add them, import running ones, list and show them. Changes nothing on any host."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for action, text in (
            ("add", "a new cluster of these hosts; the primary is the one that runs and holds most data"),
            ("import", "a running cluster: the primary and the standbys that it names"),
            ("add-node", "more hosts for a cluster that is there, each to become a standby"),
        ):
            adding = actions.add_parser(action, help=text)
            adding.add_argument("cluster")
            adding.add_argument("--node", action="append", required=True, metavar="KEY=VALUE,…", help=NODE_HELP)
            if action != "add-node":
                adding.add_argument("--primary", default="", help="the name of the primary, where it is not obvious")
            adding.add_argument("--accept-host-keys", action="store_true", help="pin whatever host keys are shown, without asking")
        actions.add_parser("list", help="all clusters")
        for action, text in (("show", "one cluster and its nodes"), ("look", "look at all nodes of a cluster now")):
            actions.add_parser(action, help=text).add_argument("cluster")

    def handle(self, *_args: Any, **options: Any) -> None:
        action = options["action"]
        try:
            if action in KINDS:
                self.add(KINDS[action], options)
            elif action == "list":
                self.list()
            else:
                cluster = _cluster(options["cluster"])
                if action == "look":
                    self.look(cluster)
                self.show(cluster)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        except (drafts.DraftNotReady, services.OtherKeyOffered, KeyUnreadable) as error:
            raise CommandError(str(error)) from None

    # -- add, import ------------------------------------------------------------------------------------------------------------

    def add(self, kind: str, options: dict[str, Any]) -> None:
        cluster = _cluster(options["cluster"]) if kind == Draft.Kind.ADD_NODE else None
        if cluster is None:
            drafts.cluster_name_free(options["cluster"])
        given = [_node_given(text) for text in options["node"]]
        draft = drafts.draft_start(None, kind, cluster)
        try:
            self._access(draft, given)
            drafts.draft_hosts(draft, [row for row, _paths, _files in given])
            self._look(draft, options["accept_host_keys"])
            for peer in drafts.peers_of(draft):
                host = drafts.peer_add(draft, peer.address, peer.name)
                self.stdout.write(f"{peer.of} names {peer.address} as {peer.relation}: added as {host.name}")
                self._look(draft, options["accept_host_keys"])
            self._choose(draft, options.get("primary", ""), {row["name"]: _typed(row, paths) for row, paths, _files in given})
            self._say_findings(draft)
            cluster, _nodes = drafts.draft_finish(draft, options["cluster"])
        except BaseException:
            if draft.pk:
                drafts.draft_discard(draft)
            raise
        self.show(cluster)

    def _access(self, draft: Draft, given: list[tuple[dict[str, Any], dict[str, Any], dict[str, Path]]]) -> None:
        files = [paths for _row, _overrides, paths in given if paths]
        if any(paths != files[0] for paths in files):
            raise CommandError("All nodes of one command are reached with the same key or password.")
        if not files:
            assert draft.made_key
            self.stdout.write(f"On every host, as its login account:\n  {line_to_paste(draft.made_key.public_part)}")
        elif "key-file" in files[0]:
            drafts.draft_access(draft, Draft.Access.PASTED_KEY, key_text=files[0]["key-file"].read_text())
        else:
            password = files[0]["password-file"].read_text().rstrip("\n")
            drafts.draft_access(draft, Draft.Access.PASSWORD_ONCE, password=password)

    def _look(self, draft: Draft, accept: bool) -> None:
        """Look, accept keys, look again (a jump host's key comes before its host's): three rounds reach everything."""
        for _round in range(3):
            drafts.hosts_asking(draft, draft.hosts.exclude(status=DraftHost.Status.SEEN))
            drafts.draft_look(draft)
            offered = list(draft.hosts.filter(status=DraftHost.Status.HOST_KEY))
            if not offered:
                break
            for host in offered:
                self._accept(host, accept)
        for host in draft.hosts.filter(status=DraftHost.Status.REFUSED):
            raise CommandError(findings.said(host.name, host.error, host.mend))

    def _accept(self, host: DraftHost, accept: bool) -> None:
        where = f"{host.jump_host} (jump host)" if host.offered_by_jump else host.ssh_host
        kind = host.offered_key.partition(" ")[0]
        self.stdout.write(f"{host.name}: {where} shows {kind} {host.offered_fingerprint}")
        if not accept and not (sys.stdin.isatty() and input("Accept this host key? [y/N] ").strip().lower() == "y"):
            raise CommandError("The host key was not accepted. Compare it on the host, then use --accept-host-keys.")
        drafts.draft_accept(host, host.offered_fingerprint)

    def _choose(self, draft: Draft, primary: str, paths: dict[str, dict[str, Any]]) -> None:
        names = list(draft.hosts.values_list("name", flat=True))
        if primary and primary not in names:
            raise CommandError(f"--primary {primary}: there is no such node.")
        if not primary and not any(paths.values()):
            return
        current = draft.hosts.filter(is_primary=True).first()
        places = drafts.places_of(draft)
        choices = {}
        for host in draft.hosts.all():
            own = dict(paths.get(host.name, {}))
            port = own.pop("postgres_port", None)
            layout = own.pop("layout", "") or (places[host.name].layout if host.name in places else host.layout)
            is_there = own.get("data_directory", host.data_directory)
            facts = drafts.facts_of(host)
            found = bool(facts and is_there and facts.postgres(is_there))
            directory = is_there if found else ""
            choices[host.name] = {"data_directory": directory, "layout": layout, "overrides": own, "postgres_port": port}
        drafts.draft_choose(draft, primary or (current.name if current else ""), choices)

    def _say_findings(self, draft: Draft) -> None:
        for problem in drafts.problems_of(draft):
            self.stdout.write(f"{problem.level}: {findings.said(problem.name, problem.reason, problem.mend, problem.command)}")
        if draft.kind == Draft.Kind.IMPORT:
            for danger in dangers.dangers(drafts.seen_of(draft)):
                self.stdout.write(f"{danger.level}: {findings.said(danger.name, danger.title, danger.reason, danger.mend)}")

    # -- list, show, look -------------------------------------------------------------------------------------------------------

    def list(self) -> None:
        for cluster in Cluster.objects.prefetch_related("nodes__state"):
            nodes = ", ".join(f"{node.name} ({node.state.role})" for node in cluster.nodes.all())
            self.stdout.write(f"{cluster.name}\t{nodes}")

    def show(self, cluster: Cluster) -> None:
        cluster.refresh_from_db()
        self.stdout.write(f"{cluster.name}: system identifier {cluster.system_identifier or 'not known yet'}")
        for node in cluster.nodes.select_related("state"):
            self.stdout.write(_node_line(node))

    def look(self, cluster: Cluster) -> None:
        nodes = list(cluster.nodes.select_related("credential", "cluster"))
        targets = [Target(node.name, services.access_of(node), services.facts_request_of(node)) for node in nodes]
        for node, look in zip(nodes, look_at_all(targets), strict=True):
            if look.facts is not None:
                services.remember_facts(node, look.facts)


def _cluster(name: str) -> Cluster:
    cluster = Cluster.objects.filter(name=name).first()
    if cluster is None:
        raise CommandError(f"There is no cluster {name}.")
    return cluster


def _node_line(node: Node) -> str:
    paths = services.paths_of(node)
    state = f"{node.state.role}, timeline {node.state.timeline}" if node.state.is_reachable else f"not reached: {node.state.error}"
    return (
        f"  {node.name}: {node.ssh_user}@{node.ssh_host}:{node.ssh_port}, PostgreSQL {node.postgres_major or '?'} "
        f"on {node.node_address}:{node.postgres_port}, {node.layout}, {paths.data_directory}: {state}"
    )


def _typed(row: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    """What stands in --node wins over what a look at the host proposes."""
    return paths | {key: row[key] for key in ("postgres_port",) if key in row}


def _node_given(text: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Path]]:
    """`name=pg1,ssh=10.0.0.1,…` → (columns, paths, secret files)."""
    columns: dict[str, Any] = {"ssh_user": "root"}
    paths: dict[str, Any] = {}
    files: dict[str, Path] = {}
    for part in text.split(","):
        key, _equals, value = part.partition("=")
        if key in NODE_KEYS:
            column = NODE_KEYS[key]
            columns[column] = int(value) if column in NUMBERS else value
        elif key in PATH_KEYS:
            paths[PATH_KEYS[key]] = value
        elif key in ("key-file", "password-file"):
            files[key] = Path(value)
        else:
            raise CommandError(f"--node: {key!r} is not known. {NODE_HELP}")
    if not columns.get("name") or not columns.get("ssh_host"):
        raise CommandError("--node needs at least name=… and ssh=….")
    columns.setdefault("node_address", columns["ssh_host"])
    return columns, paths, files
