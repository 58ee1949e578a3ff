"""What every observer says of the primary → a verdict, and what each candidate would lose. Pure: no Django, no clock, no network.

The promote job, the promote page and the alert rules ask the same functions. *Unreachable is not dead*: "stopped" is proven only by
a look inside the host (no postmaster, no backend) or by a fence command that succeeded; silence from everywhere never proves it.
Evidence comes from active questions (`Identify`, TCP, SSH); a WAL receiver believes in a dead primary for up to its timeout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from remote.facts import Facts, Postgres, Unreachable

Way = Literal["ssh", "tcp", "sql", "receiver", "fence"]
Says = Literal["alive", "stopped", "no-answer", "unknown"]
VerdictKind = Literal["alive", "stopped_proven", "unreachable", "only_panel_blind", "cannot_tell"]
PANEL = "panel"

FRESH_SECONDS = 30.0
"""Older observations prove nothing any more, but for a fence: what was switched off stays off until somebody sees it alive."""
FENCE_SECONDS = 3600.0
HEARD_SECONDS = 5.0


@dataclass(frozen=True)
class Observation:
    """observer: "panel" or a node's name. by: "ssh" looks inside the host; "tcp" opens PostgreSQL's port; "sql" gets an answer from
    PostgreSQL, be it a refusal; "receiver" is a WAL receiver's own belief (weak); "fence" is the fence command's end.

    says: "stopped" by ssh = no process of this PostgreSQL is left; by tcp = nobody listens (the host answers, which proves little).
    at: epoch seconds by the panel's clock.
    """

    observer: str
    by: Way
    says: Says
    at: float
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """sentence: for the page; mend: the one safe next thing to do.

    way: how a promotion may go: "salvage" = its host answers: it is stopped, proven stopped, and its WAL fetched; "fence" = only
    after its fence command or a person's word; "" = not now.
    """

    kind: VerdictKind
    sentence: str
    mend: str = ""
    way: Literal["salvage", "fence", ""] = ""


# -- is the primary dead? ------------------------------------------------------------------------------------------------------


def verdict(primary: str, observations: Iterable[Observation], now: float) -> Verdict:
    """Of `primary`, a node's name, by all that was observed until `now`."""
    seen = _Seen(primary, observations, now)
    if seen.fenced and not seen.speaks_after(seen.fenced.at):
        return Verdict("stopped_proven", f"{primary} is stopped: its fence command has said so.", "Promote a standby.", "fence")
    inside = seen.newest(PANEL, "ssh")
    if inside and inside.says in ("alive", "stopped"):
        return _looked_inside(seen, inside)
    if seen.speaks_to(PANEL):
        sentence = f"{primary} answers SQL from the panel: it lives, though the panel cannot log in to its host."
        return Verdict("alive", sentence, f"Mend the login to {primary}, then switch over if you want to.")
    if hearers := seen.hearers:
        sentence = f"Only the panel cannot see {primary}: {_names(hearers)} {_hear(hearers)} it. Do not promote."
        return Verdict("only_panel_blind", sentence, f"Mend the way from the panel to {primary}; the cluster works.")
    return _nobody_hears(seen)


def _looked_inside(seen: _Seen, inside: Observation) -> Verdict:
    name = seen.primary
    speaking = seen.speaking
    if inside.says == "stopped":
        if speaking:
            sentence = (
                f"On {name} no PostgreSQL runs, yet {_names(speaking)} {'get' if len(speaking) > 1 else 'gets'} an answer at its"
                " address: another machine may have it."
            )
            return Verdict("cannot_tell", sentence, f"Find out which machine has the address of {name}.")
        sentence = f"{name} is stopped, proven: its host answers, and no process of its PostgreSQL is left."
        return Verdict("stopped_proven", sentence, "Promote a standby: the WAL that never left is fetched first.", "salvage")
    if speaking:
        return Verdict("alive", f"{name} lives: it answers {_names(speaking)}.", "To move the primary, switch over.")
    if seen.asked_sql:
        sentence = f"{name} answers nobody, but is not stopped: {inside.detail or 'it runs'}."
        mend = f"Restart {name} if it can be; or promote a standby: {name} is stopped for good and its WAL fetched first."
        return Verdict("alive", sentence, mend, "salvage")
    return Verdict("alive", f"PostgreSQL on {name} runs.", "To move the primary, switch over.")


def _nobody_hears(seen: _Seen) -> Verdict:
    name = seen.primary
    asked = seen.active
    if not any(one.observer == PANEL for one in asked):
        return Verdict("cannot_tell", f"Nobody has asked {name} lately.", "Look again.")
    others = sorted({one.observer for one in asked if one.observer != PANEL and one.says != "unknown"})
    if not others:
        sentence = f"The panel does not reach {name}, and no standby's host could be asked: the panel itself may be cut off."
        return Verdict("cannot_tell", sentence, "Look at the panel's own network; ask the standbys' hosts again.")
    believing = [one.observer for one in seen.fresh if one.by == "receiver" and one.says == "alive" and one.observer not in others]
    if believing:
        sentence = f"The WAL receiver of {_names(believing)} says that it still hears {name}, but its host could not be asked."
        return Verdict("cannot_tell", sentence, "Ask again in a few seconds.")
    unasked = sorted(seen.observers - {PANEL, *others})
    but = f" ({_names(unasked)} could not be asked)" if unasked else ""
    detail = ""
    if any(one.by == "tcp" and one.says == "alive" for one in asked):
        detail = " Its port still accepts connections, but nobody gets a word."
    elif any(one.by == "tcp" and one.says == "stopped" for one in asked):
        detail = " Nothing listens at its port, but nobody can look inside the host."
    sentence = f"{name} is unreachable from everywhere: the panel and {_names(others)} get no answer{but}.{detail}"
    sentence += " It may still serve somebody."
    return Verdict("unreachable", sentence, f"Fence {name}, or make sure that it is off and say so by its name.", "fence")


class _Seen:
    """The observations that count at `now`."""

    def __init__(self, primary: str, observations: Iterable[Observation], now: float) -> None:
        everything = list(observations)
        self.primary = primary
        self.observers = {one.observer for one in everything}
        self.fresh = [one for one in everything if one.by != "fence" and now - one.at <= FRESH_SECONDS]
        fences = [one for one in everything if one.by == "fence" and one.says == "stopped" and now - one.at <= FENCE_SECONDS]
        self.fenced = max(fences, key=lambda one: one.at, default=None)

    @property
    def active(self) -> list[Observation]:
        return [one for one in self.fresh if one.by in ("ssh", "tcp", "sql")]

    def newest(self, observer: str, by: Way) -> Observation | None:
        return max((one for one in self.fresh if (one.observer, one.by) == (observer, by)), key=lambda one: one.at, default=None)

    def speaks_to(self, observer: str) -> bool:
        newest = self.newest(observer, "sql")
        return newest is not None and newest.says == "alive"

    def speaks_after(self, at: float) -> bool:
        return any(one.at > at and one.says == "alive" and one.by in ("ssh", "sql") for one in self.fresh)

    @property
    def speaking(self) -> list[str]:
        """Whom it answers by SQL."""
        return [observer for observer in sorted(self.observers) if self.speaks_to(observer)]

    @property
    def asked_sql(self) -> bool:
        return any(one.by == "sql" and one.says == "no-answer" for one in self.fresh)

    @property
    def hearers(self) -> list[str]:
        """Other hosts that it answers: by SQL, or by TCP where SQL could not be asked."""
        found = []
        for observer in sorted(self.observers - {PANEL}):
            by_sql, by_tcp = self.newest(observer, "sql"), self.newest(observer, "tcp")
            is_unasked = by_sql is None or by_sql.says == "unknown"
            if self.speaks_to(observer) or (is_unasked and by_tcp is not None and by_tcp.says == "alive"):
                found.append(observer)
        return found


def _names(names: Sequence[str]) -> str:
    names = ["the panel" if name == PANEL else name for name in names]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def _hear(names: Sequence[str]) -> str:
    return "still hears" if len(names) == 1 else "still hear"


# -- what facts say ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A node as evidence needs it: where the others find its PostgreSQL, and where it lies on its host."""

    name: str
    address: str
    port: int
    data_directory: str


def observations_of(
    primary: Place, nodes: Sequence[Place], facts: Mapping[str, Facts | Unreachable], at: float, system_identifier: str = ""
) -> list[Observation]:
    """What one look at every host (with `reach` and `identify` of the primary asked there) says of the primary."""
    found = [] if primary.name not in facts else _by_panel(primary, facts[primary.name], at)
    for node in nodes:
        seen = facts.get(node.name)
        if node.name == primary.name or seen is None:
            continue
        if isinstance(seen, Unreachable):
            found.append(Observation(node.name, "sql", "unknown", at, f"its host does not answer: {seen.message}"))
        else:
            found += _from_host(primary, node, seen, at, system_identifier)
    return found


def _by_panel(primary: Place, facts: Facts | Unreachable, at: float) -> list[Observation]:
    inside = _inside(primary, facts, at)
    if isinstance(facts, Unreachable):
        ports: dict[str, Says] = {"speaks": "alive", "open": "alive", "refused": "stopped", "silent": "no-answer"}
        if not facts.postgres:
            return [inside]
        says: Says = "alive" if facts.postgres == "speaks" else "no-answer"
        detail = f"PostgreSQL's port: {facts.postgres}"
        return [inside, Observation(PANEL, "tcp", ports[facts.postgres], at, detail), Observation(PANEL, "sql", says, at, detail)]
    postgres = facts.postgres(primary.data_directory)
    if postgres is None or not postgres.is_running:
        return [inside]
    if postgres.answers_sql:
        return [inside, Observation(PANEL, "sql", "alive", at, "it answers on its own host")]
    return [inside, Observation(PANEL, "sql", "no-answer", at, postgres.sql_error or "it does not answer on its own host")]


def _inside(primary: Place, facts: Facts | Unreachable, at: float) -> Observation:
    if isinstance(facts, Unreachable):
        says: Says = "no-answer" if facts.cause in ("timeout", "refused", "no-route", "dns") else "unknown"
        return Observation(PANEL, "ssh", says, at, facts.message)
    postgres = facts.postgres(primary.data_directory)
    if postgres is None or postgres.is_denied:
        return Observation(PANEL, "ssh", "unknown", at, f"the host answers, but {primary.data_directory} cannot be seen")
    if postgres.is_running:
        return Observation(PANEL, "ssh", "alive", at, f"postmaster {postgres.postmaster_pid} runs")
    if postgres.stray_pids:
        pids = ", ".join(str(pid) for pid in postgres.stray_pids)
        return Observation(PANEL, "ssh", "alive", at, f"its postmaster is gone, but processes of it are left: {pids}")
    state = f"; its control file says “{postgres.control.state}”" if postgres.control else ""
    return Observation(PANEL, "ssh", "stopped", at, f"the host answers: no postmaster, no backend{state}")


def _from_host(primary: Place, node: Place, facts: Facts, at: float, system_identifier: str) -> list[Observation]:
    found = []
    place = f"{primary.address}:{primary.port}"
    if reach := facts.reach.get(place):
        is_refused = "refused" in reach.error.lower()
        says: Says = "alive" if reach.is_open else "stopped" if is_refused else "no-answer"
        found.append(Observation(node.name, "tcp", says, at, f"{place}: {'open' if reach.is_open else reach.error or 'no answer'}"))
    if asked := facts.identified.get(place):
        is_other = bool(asked.system_identifier and system_identifier and asked.system_identifier != system_identifier)
        if is_other:
            found.append(Observation(node.name, "sql", "unknown", at, f"another database answers: {asked.system_identifier}"))
        else:
            words: dict[bool | None, Says] = {True: "alive", False: "no-answer", None: "unknown"}
            said = f"it says timeline {asked.timeline}" if asked.system_identifier else asked.error
            found.append(Observation(node.name, "sql", words[asked.answers], at, said))
    return found + _believed(primary, node, facts.postgres(node.data_directory), at)


def _believed(primary: Place, node: Place, postgres: Postgres | None, at: float) -> list[Observation]:
    receiver = postgres.receiver if postgres else None
    if receiver is None or receiver.sender_host not in (primary.address, ""):
        return []
    says: Says = "alive" if receiver.status == "streaming" else "no-answer"
    return [Observation(node.name, "receiver", says, at, f"its WAL receiver says “{receiver.status}”")]


# -- which standby, and what would be lost? ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What is known of a node's WAL. lsn: what is safely on it (a primary: what it had; a standby: received or replayed).

    at: when that was seen, epoch seconds; 0 = never. sync_state: of a standby in the primary's eyes at its last look ("sync",
    "quorum", "potential", "async", "").
    """

    name: str
    lsn: int
    timeline: int
    at: float
    replay_lsn: int = 0
    is_reachable: bool = True
    is_standby: bool = True
    is_paused: bool = False
    sync_state: str = ""


@dataclass(frozen=True)
class Memory:
    """What the panel remembers of a cluster beyond a job's own look: where every node's WAL stood, which nodes a fence command has
    switched off, the fence commands as they are shown, and who began which timeline."""

    known: Mapping[str, Known] = field(default_factory=dict)
    fenced: Mapping[str, tuple[Observation, ...]] = field(default_factory=dict)
    fences: Mapping[str, str] = field(default_factory=dict)
    timelines: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """loss_bytes_known: behind the primary at the last look at it, None = not known; unseen_seconds: since then, None = never seen.

    is_proven_zero: nothing acknowledged can be missing (synchronous replication). is_zero_after_salvage: nothing will be, since the
    old primary's host answers and its WAL is fetched first. why_not: why another is better, or it cannot be; "" = it can.
    """

    name: str
    loss_bytes_known: int | None
    unseen_seconds: float | None
    is_proven_zero: bool = False
    is_zero_after_salvage: bool = False
    why_not: str = ""
    is_best: bool = False
    lsn: int = 0
    to_replay_bytes: int = 0

    @property
    def can_promote(self) -> bool:
        return self.is_best or not self.why_not

    @property
    def sentence(self) -> str:
        """What would be lost, in words."""
        if self.is_zero_after_salvage:
            return "Nothing is lost: what it lacks is fetched from the old primary first."
        if self.is_proven_zero:
            return "Nothing acknowledged is lost: replication to it was synchronous."
        return loss_sentence(self.loss_bytes_known, self.unseen_seconds)


def loss_sentence(known_bytes: int | None, unseen_seconds: float | None) -> str:
    if known_bytes is None or unseen_seconds is None:
        return "Nobody has seen how far the primary was: what would be lost is not known."
    return f"{bytes_shown(known_bytes)} behind at the last look, plus up to {seconds_shown(unseen_seconds)} that nobody saw."


def bytes_shown(count: int) -> str:
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"


def seconds_shown(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{round(minutes / 60)} h"


def candidates(primary: Known | None, standbys: Sequence[Known], found: Verdict, now: float) -> list[Candidate]:
    """The best first: reachable, newest timeline, most WAL. primary: what it had when it was last seen, None = never seen."""
    able = [one for one in standbys if one.is_reachable and one.is_standby]
    best = max(able, key=lambda one: (one.timeline, one.lsn, one.replay_lsn), default=None)
    listed = [_candidate(primary, one, best, found, now) for one in standbys]
    if _is_proven_synchronous(standbys, best):
        listed = [replace(one, is_proven_zero=one.is_best) for one in listed]
    return sorted(listed, key=lambda one: (not one.is_best, bool(one.why_not), -one.lsn, one.name))


def _candidate(primary: Known | None, one: Known, best: Known | None, found: Verdict, now: float) -> Candidate:
    is_best = one is best
    known = max(0, primary.lsn - one.lsn) if primary and primary.lsn and one.timeline == primary.timeline else None
    return Candidate(
        name=one.name, loss_bytes_known=known, unseen_seconds=max(0.0, now - primary.at) if primary and primary.at else None,
        is_zero_after_salvage=found.way == "salvage" and one.is_reachable and one.is_standby,
        why_not="" if is_best else _why_not(one, best), is_best=is_best, lsn=one.lsn,
        to_replay_bytes=max(0, one.lsn - one.replay_lsn) if one.replay_lsn else 0,
    )  # fmt: skip


def _why_not(one: Known, best: Known | None) -> str:
    if not one.is_reachable:
        return "Its host does not answer."
    if not one.is_standby:
        return "It is no standby that runs."
    if best is None or (best.timeline, best.lsn) == (one.timeline, one.lsn):
        return ""
    if best.timeline != one.timeline:
        return f"It is on timeline {one.timeline}, {best.name} on {best.timeline}."
    return f"{best.name} has {bytes_shown(best.lsn - one.lsn)} more."


def _is_proven_synchronous(standbys: Sequence[Known], best: Known | None) -> bool:
    """Every acknowledged commit was on a standby that may confirm; all of those are here, and this one has the most of them."""
    confirming = [one for one in standbys if one.sync_state in ("sync", "quorum", "potential")]
    if best is None or not any(one.sync_state in ("sync", "quorum") for one in confirming):
        return False
    return all(one.is_reachable and one.is_standby and one.lsn <= best.lsn for one in confirming)


def without_salvage(one: Candidate) -> Candidate:
    """The same if the old primary's WAL cannot be had after all."""
    return replace(one, is_zero_after_salvage=False)
