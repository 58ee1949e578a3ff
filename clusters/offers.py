"""What can be done with a cluster and its nodes, in words. `jobs` registers what it offers: pages here need not know its kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from clusters.models import Cluster, Node

Weight = Literal["now", "usual", "rare"]
"""now: mends what is wrong at present; usual: a thing of every day; rare: folded away."""


@dataclass(frozen=True)
class Offer:
    """One operation on a button. node: "" = of the cluster as a whole.

    url, fields: sent by POST they lead to a plan; without fields url is a page that asks first.
    settings_url: the page that asks what the button leaves as it is ("" = nothing to ask).
    """

    kind: str
    node: str
    text: str
    why: str
    weight: Weight
    url: str
    fields: tuple[tuple[str, str], ...] = ()
    settings_url: str = ""


Provider = Callable[[Cluster, Sequence[Node]], Sequence[Offer]]
_providers: list[Provider] = []


def register(provider: Provider) -> None:
    if provider not in _providers:
        _providers.append(provider)


def offers_of(cluster: Cluster, nodes: Sequence[Node]) -> list[Offer]:
    """What makes sense for the roles that the nodes have now; what mends something first."""
    found = [offer for provider in _providers for offer in provider(cluster, nodes)]
    order = ("now", "usual", "rare")
    return sorted(found, key=lambda offer: order.index(offer.weight))
