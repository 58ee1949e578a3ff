"""What is to be done when: a thousand nodes cost a look at the next entry, not a walk over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count


class Agenda:
    """Moments are of the monotonic clock: a machine's clock that is set brings nothing forward and delays nothing."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def at(self, moment: float, call: Callable[[], None]) -> None:
        """Nothing is taken off again: a call whose reason is gone finds that out itself."""
        heappush(self._entries, (moment, next(self._numbers), call))

    def due(self, now: float) -> Iterator[Callable[[], None]]:
        """What is due by `now`, in order; what these calls add for later waits for the next time."""
        while self._entries and self._entries[0][0] <= now:
            yield heappop(self._entries)[2]

    def seconds_until_next(self, now: float, most: float) -> float:
        return min(most, max(0.0, self._entries[0][0] - now)) if self._entries else most
