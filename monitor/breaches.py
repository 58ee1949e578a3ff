"""From breaches, round by round, to alerts: how long one holds before it fires, and how long it is gone before it is over. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from monitor.rules import RULES, Breach


@dataclass
class Held:
    """A breach as it is followed over rounds. Times: epoch seconds; gone_at: when it was first missing (None: it holds).

    rounds: in how many in a row it was found.
    """

    breach: Breach
    since: float
    rounds: int = 0
    is_firing: bool = False
    gone_at: float | None = None


@dataclass(frozen=True)
class Change:
    """what: "fires", "says" (still, with other values), "clears"."""

    what: Literal["fires", "says", "clears"]
    rule: str
    about: str
    breach: Breach
    since: float


@dataclass
class Followed:
    """What is remembered of one cluster between rounds; `recall` what the database had open when this collector began."""

    held: dict[tuple[str, str], Held] = field(default_factory=dict)

    def recall(self, rule: str, about: str, since: float) -> None:
        self.held[rule, about] = Held(Breach(about), since, is_firing=True)

    def take(
        self, now: float, found: Mapping[tuple[str, str], Breach], held_back: Collection[str] = (), in_a_row: int = 1
    ) -> list[Change]:
        """in_a_row: fires after so many rounds at least.

        held_back: rules whose breaches a job or a maintenance explains. They do not fire then; what holds still fires afterwards.
        """
        changes = []
        for key, breach in found.items():
            one = self.held.setdefault(key, Held(breach, now))
            has_changed = one.breach.values != breach.values
            one.breach, one.gone_at, one.rounds = breach, None, one.rounds + 1
            has_held = one.rounds >= in_a_row and now - one.since >= RULES[key[0]].hold_seconds
            if not one.is_firing and key[0] not in held_back and has_held:
                one.is_firing = True
                changes.append(Change("fires", *key, breach, one.since))
            elif one.is_firing and has_changed:
                changes.append(Change("says", *key, breach, one.since))
        for key in [key for key in self.held if key not in found]:
            one = self.held[key]
            if not one.is_firing:
                del self.held[key]
                continue
            one.gone_at = one.gone_at or now
            if now - one.gone_at >= RULES[key[0]].clear_seconds:
                changes.append(Change("clears", *key, one.breach, one.since))
                del self.held[key]
        return changes
