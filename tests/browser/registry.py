"""registry-prod as rows: a primary and two standbys as a look at them would have left it, and jobs in every state."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from remote.facts import (
    Archiver,
    Control,
    Facts,
    Installation,
    Mount,
    Postgres,
    Setting,
    Slot,
    WalReceiver,
    WalSender,
    facts_to_json,
)

PRIMARY_LSN = (7 << 32) + 0x4A8F2160
BEHIND_LSN = (7 << 32) + 0x49684000
DATA = "/var/lib/postgresql/15/main"
ADDRESSES = {"pg1": "10.20.0.11", "pg2": "10.20.0.12", "pg3": "203.0.113.7"}
GIB = 1 << 30
CONF = "/etc/postgresql/15/main/postgresql.conf"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDl3kMeXmD7bqFqPRqDVwKXGRh6RmoqOXW0JqfEqc0pD"
HBA = """local all all peer
host all all 0.0.0.0/0 trust
host replication pgpanel_replication 10.20.0.12/32 scram-sha-256
"""


def facts(name: str, replay_lsn: int = PRIMARY_LSN) -> Facts:
    is_primary = name == "pg1"
    settings = {
        "wal_level": Setting("replica", source="configuration file", source_file=CONF, source_line=761),
        "max_wal_senders": Setting(
            "12", source="configuration file", source_file=CONF, source_line=762, pending_restart=not is_primary
        ),
        "shared_buffers": Setting("16384", unit="8kB", source="configuration file"),
    }
    slots = (Slot("pgpanel_pg2", "physical", True), Slot("pgpanel_pg3", "physical", True, held_bytes=1_288_490_188))
    senders = (WalSender("pg2", "10.20.0.12", "streaming", "sync"), WalSender("pg3", "203.0.113.7", "streaming", "async"))
    postgres = Postgres(
        data_directory=DATA, owner="postgres", major="15", version="15.18", bin_directory="/usr/lib/postgresql/15/bin",
        config_file=CONF, hba_file="/etc/postgresql/15/main/pg_hba.conf", port=5432,
        is_running=True, answers_sql=True, role="primary" if is_primary else "standby", timeline=7,
        current_lsn=PRIMARY_LSN if is_primary else 0, receive_lsn=0 if is_primary else PRIMARY_LSN,
        replay_lsn=0 if is_primary else replay_lsn, size_bytes=214 * GIB, wal_bytes=3 * GIB, settings=settings,
        control=Control("7431882201554318022", "in production", 7, PRIMARY_LSN, PRIMARY_LSN, "00000007000000070000004A"),
        hba_text=HBA,
        slots=slots if is_primary else (), senders=senders if is_primary else (),
        receiver=None if is_primary else WalReceiver("streaming", "10.20.0.11", 5432, f"pgpanel_{name}", 7),
        archiver=Archiver(5120, 0, "000000070000000700000049"), debian_cluster="15/main", at_boot="auto",
    )  # fmt: skip
    return Facts(
        hostname=name, machine_id=f"{name}-4f2a", os_id="debian", os_version="12", kernel="6.1.0-28-amd64", architecture="x86_64",
        cpu_count=8, memory_bytes=32 * GIB, addresses=(ADDRESSES.get(name, ""),), login_user="root", can_become_root=True,
        can_become_owner=True,
        clock_skew_seconds=0.004, is_systemd=True, glibc_version="2.36", tools={"rsync": "3.2.7", "pg_rewind": "15.18"},
        mounts=(Mount("/", "/dev/vda1", "ext4", 40 * GIB, 22 * GIB),
                Mount("/var/lib/postgresql", "/dev/vdb", "xfs", 500 * GIB, 240 * GIB)),
        installations=(Installation("/usr/lib/postgresql/15/bin", "15", "15.18"),), clusters=(postgres,), elapsed_ms=180,
    )  # fmt: skip


def cluster(name: str = "registry-prod", nodes: tuple[str, ...] = ("pg1", "pg2", "pg3"), is_seen: bool = True) -> Any:
    from clusters import models

    found = models.Cluster.objects.create(name=name, description="Domains, contacts and hosts of the registry",
                                          system_identifier="7431882201554318022")  # fmt: skip
    key = models.Credential.objects.create(kind="ssh-key", label="panel's key", cluster=found, purpose="login", sealed="-",
                                           public_part=KEY)  # fmt: skip
    for position, node_name in enumerate(nodes):
        node = models.Node.objects.create(
            cluster=found, name=node_name, ssh_host=ADDRESSES[node_name], node_address=ADDRESSES[node_name], credential=key,
            postgres_major="15", position=position, host_key=KEY,
        )  # fmt: skip
        if is_seen:
            seen(node)
    return found


def seen(node: Any, **more: Any) -> Any:
    from clusters.models import NodeState

    now = timezone.now()
    is_primary, replay_lsn = node.name == "pg1", BEHIND_LSN if node.name == "pg3" else PRIMARY_LSN
    values: dict[str, Any] = {
        "tried_at": now, "seen_at": now, "facts_at": now - timedelta(minutes=3), "is_reachable": True, "is_writable": is_primary,
        "role": "primary" if is_primary else "standby", "timeline": 7, "current_lsn": PRIMARY_LSN if is_primary else 0,
        "receive_lsn": 0 if is_primary else PRIMARY_LSN, "replay_lsn": 0 if is_primary else replay_lsn,
        "follows": "" if is_primary else "10.20.0.11:5432", "facts": facts_to_json(facts(node.name, replay_lsn)),
        "sample": sample(node.name),
    }  # fmt: skip
    return NodeState.objects.update_or_create(node=node, defaults=values | more)[0]


def sample(name: str) -> dict[str, Any]:
    """As the collector leaves it in `NodeState.sample`."""
    if name == "pg1":
        return {"state": "primary", "is_the_primary": True}
    if name == "pg2":
        lag = {"write_bytes": 0, "flush_bytes": 0, "replay_bytes": 0, "replay_seconds": 0.004}
        return {"state": "streaming", "upstream": "pg1", "sync_state": "sync", **lag}
    lag = {"write_bytes": 16 << 20, "flush_bytes": 17 << 20, "replay_bytes": PRIMARY_LSN - BEHIND_LSN, "replay_seconds": 3.1}
    return {"state": "catching-up", "upstream": "pg1", "sync_state": "async", "eta_seconds": 12, **lag}


def samples(of: Any, seconds: int = 60) -> None:
    """A minute in which pg3 falls behind and comes back, to where its present sample is."""
    from monitor.models import Sample

    now = timezone.now()
    for node in of.nodes.exclude(name="pg1"):
        for i in range(seconds):
            lag_seconds = 0.004 if node.name == "pg2" else max(0.2, min((i - 20) * 0.45, 8.1 - (i - 38) * 0.238))
            lag_bytes = 0 if node.name == "pg2" else int(lag_seconds * 6_200_000)
            Sample.objects.create(
                node=node, at=now - timedelta(seconds=seconds - 1 - i), state="streaming", primary_lsn=PRIMARY_LSN, write_bytes=0,
                flush_bytes=0, replay_bytes=lag_bytes, replay_seconds=lag_seconds,
            )  # fmt: skip


STEPS = (
    ("pg1.keys", "pg1", "Exchange archive keys pg1 ⇄ pg3"),
    ("primary.role", "pg1", "Create the role pgpanel_replication"),
    ("primary.hba", "pg1", "Let pg3 in by pg_hba.conf, reload"),
    ("primary.settings", "pg1", "Write the settings, restart pg1"),
    ("standby.copy#pg3", "pg3", "Copy the data directory from pg1"),
    ("standby.verify#pg3", "pg3", "Verify the copy"),
    ("standby.start#pg3", "pg3", "Start pg3"),
    ("proof#pg3", "pg3", "Prove: a write on pg1 is replayed on pg3"),
)
COPY = (
    "runuser -u postgres -- pg_basebackup -D /var/lib/postgresql/15/main.new-job-418 -X stream -c fast -S pgpanel_pg3 "
    "--compress=server-zstd:1 -P -d 'host=10.20.0.11 port=5432 user=pgpanel_replication passfile=/var/lib/postgresql/.pgpanel/pass'"
)
DIFF = f"""--- {CONF}
+++ {CONF}
@@ -800,2 +800,8 @@
 # Add settings for extensions here
-#wal_log_hints = off
+# >>> pgpanel: managed block (job 418, do not edit)
+wal_level = 'replica'
+max_wal_senders = 12
+wal_log_hints = on
+archive_command = '/var/lib/postgresql/.pgpanel/archive.sh "%p" "%f"'
+# <<< pgpanel
"""


def plan(is_refused: bool = False) -> Any:
    from jobs.recipe import Check, Plan, PlannedStep

    checks = [
        Check("login", "pg1", "Login, and becoming postgres", "ok", "root, by the panel's key"),
        Check("disk", "pg3", "Room for data and WAL", "ok", "217 GB needed, 240 GB free on /var/lib/postgresql"),
        Check(
            "clock",
            "pg3",
            "Clocks",
            "warning",
            "pg3 is 2.1 s behind the panel",
            "Let chrony run on pg3.",
            "systemctl enable --now chrony",
        ),
    ]
    if is_refused:
        reason = f"{DATA} holds another database (7100000000000000001)"
        mend = "Stop it and move it aside yourself, if it is not needed."
        checks.append(Check("directory", "pg3", "Target directory", "refused", reason, mend, f"mv {DATA} {DATA}.mine"))
    steps = [
        PlannedStep(key, node, title, "So that pg1 can hand its WAL on." if key == "pg1.keys" else "", key != "primary.role",
                    (COPY,) if "copy" in key else ("systemctl restart postgresql@15-main",) if "settings" in key else (),
                    ((CONF, DIFF),) if "settings" in key else (),
                    destroys="moves /var/lib/postgresql/15/main (31 MB) aside" if "copy" in key else "",
                    restarts="pg1" if "settings" in key else "",
                    accounts=("postgres",) if "copy" in key else ("root",) if "settings" in key else ())
        for key, node, title in STEPS
    ]  # fmt: skip
    title, summary = "Set up standby pg3 from pg1", "pg3 becomes a standby of pg1. 214 GB are copied by pg_basebackup."
    if is_refused:
        return Plan("setup", title, tuple(checks), (), {})
    return Plan("setup", title, tuple(checks), tuple(steps), {}, (summary,), 2400.0)


def job(of: Any, status: str = "running", by: Any = None, lines: int = 60) -> Any:
    from jobs.models import Job, JobStep, LogLine
    from jobs.stored import plan_to_json

    made, now = plan(is_refused=status == "refused"), timezone.now()
    started = now - timedelta(seconds=161)
    has_run = status not in ("planning", "planned", "refused", "queued")
    found = Job.objects.create(
        cluster=of, kind="setup", title=made.title, params={"primary": "pg1", "standbys": ["pg3"]}, status=status, planned_by=by,
        started_by=by, started_from="10.1.2.3", plan={} if status == "planning" else plan_to_json(made),
        plan_hash="" if status == "planning" else made.hash, planned_at=now,
        queued_at=None if status in ("planning", "planned", "refused") else started,
        started_at=started if has_run else None, ended_at=now if has_run and status != "running" else None,
    )  # fmt: skip
    if not found.queued_at:
        return found
    at_copy = 4
    for position, (key, node, title) in enumerate(STEPS):
        here = {"running": "running", "failed": "failed", "cancelled": "cancelled", "lost": "running"}.get(status, "todo")
        step = "done" if status == "succeeded" or (has_run and position < at_copy) else here if position == at_copy else "todo"
        JobStep.objects.create(
            job=found, position=position, key=key, node=node, title=title,
            status="already" if position == 1 and step == "done" else step,
            started_at=started if step != "todo" else None, ended_at=now if step == "done" else None,
            progress={"done_bytes": 134 * GIB, "total_bytes": 214 * GIB, "bytes_per_second": 96 << 20} if step == "running" else {},
            error="pg_basebackup: error: could not write to file: No space left on device" if step == "failed" else "",
        )  # fmt: skip
    if status == "failed":
        found.outcome = (
            "“Copy the data directory from pg1” did not become done on pg3: no space left on device.\n"
            "pg1 is as it was, with its new settings. On pg3 the unfinished copy stands in main.new-job-418.\n"
            "Make room on pg3, then resume: the job goes on from this step."
        )
    if status == "succeeded":
        found.outcome = "pg3 streams from pg1 on timeline 7; a write at 7/4A8F2160 was replayed after 12 ms."
    texts = [("command", COPY), ("output", "waiting for checkpoint"), ("note", "checkpoint done, copying from 7/41000028")]
    texts += [("output", f"{140_509_184 + i * 98_304}/224395264 kB (62%), 0/1 tablespace") for i in range(lines - len(texts))]
    LogLine.objects.bulk_create(
        LogLine(
            job=found, seq=seq, at=started + timedelta(seconds=seq), node="pg3", step="standby.copy#pg3", voice=voice, text=text
        )
        for seq, (voice, text) in enumerate(texts, start=1)
    )
    found.last_seq = len(texts)
    found.save()
    return found


def line(of: Any, text: str, publish: bool = True) -> int:
    """One more line of a job's log, as the engine stores and tells it."""
    from jobs.log import line_data
    from jobs.models import LogLine
    from pgpanel import live

    of.last_seq += 1
    of.save(update_fields=["last_seq"])
    row = LogLine.objects.create(job=of, seq=of.last_seq, at=timezone.now(), node="pg3", voice="output", text=text)
    if publish:
        live.publish(f"job:{of.pk}", "line", line_data(row), row.seq)
    return int(row.seq)


def switched(of: Any, ending: str = "done", by: Any = None) -> Any:
    """A switchover that has ended, as its page and its incident page tell it."""
    from jobs.engine import WORDS
    from jobs.models import Job, JobStep

    began = timezone.now() - timedelta(days=12 if ending == "done" else 0, seconds=4)
    steps = (
        ("fence.stage#pg1", "pg1", "Stage the standby configuration of pg1"), ("gap", "pg1", "Stop pg1, promote pg2"),
        ("old.start#pg1", "pg1", "Start pg1 as a standby of pg2"), ("proof#pg1", "pg1", "Prove: a write on pg2 is replayed on pg1"),
    )  # fmt: skip
    done = {"done": 4, "rolled_back": 1, "cleanup_pending": 2, "unknown": 1}[ending]
    timeline = [
        {"at": (began + timedelta(seconds=1, milliseconds=at)).isoformat(), "node": node, "what": what}
        for at, node, what in ((0, "pg1", "told to stop"), (61, "pg1", "stopped: shut down, no process is left"),
                               (64, "pg2", "has everything, replayed past 7/4A8F2160"), (66, "pg2", "told to promote"),
                               (113, "pg2", "takes writes on timeline 8"))
    ]  # fmt: skip
    outcomes = {
        "rolled_back": "pg2 had not received everything within 10 s.",
        "cleanup_pending": "Step 3 of 4, “Start pg1 as a standby of pg2” on pg1, failed:\nno route to host",
        "unknown": "The line to pg2 was lost after it was told to promote.",
    }  # fmt: skip
    outcome = f"{WORDS[ending]}\n\n{outcomes[ending]}" if ending in outcomes else "Done: Switch over to pg2"
    found = Job.objects.create(
        cluster=of, kind="switchover", title="Switch over to pg2", params={"candidate": "pg2", "before": [], "after": []},
        status="succeeded" if ending == "done" else "failed", ending=ending, outcome=outcome, planned_by=by, started_by=by,
        started_from="10.1.2.3", plan_hash="9f3c1a" * 10,
        plan={"identities": {"pg1": {"role": "primary"}, "pg2": {"role": "standby"}}},
        planned_at=began, queued_at=began, started_at=began, ended_at=began + timedelta(seconds=3.4),
        report={"gap_ms": 113.4, "timeline_before": 7, "timeline_after": 8, "timeline": timeline,
                "loss": {"sentence": "Nothing: pg2 had everything before it took over."}},
    )  # fmt: skip
    Job.objects.filter(pk=found.pk).update(created_at=began - timedelta(seconds=21))
    for position, (key, node, title) in enumerate(steps):
        is_done, is_next = position < done, position == done
        JobStep.objects.create(
            job=found, position=position, key=key, node=node, title=title,
            status="done" if is_done else "failed" if is_next else "todo",
            started_at=began + timedelta(seconds=position * 0.8) if is_done or is_next else None,
            ended_at=began + timedelta(seconds=position * 0.8 + (0.001 if position == 3 else 0.6)) if is_done or is_next else None,
            error="no route to host" if is_next else "",
        )  # fmt: skip
    return found
