"""Exponential backoff: how long to wait before an action that failed is attempted again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays from `first` to `longest` seconds, each `factor` times the one before."""

    first: float
    longest: float
    factor: float = 2.0

    def delay(self, attempt: int, jitter: float = 1.0) -> float:
        """Seconds to wait after this many failures, 1 being the first.

        `jitter` is a factor around 1. It applies after the cap, so that clients that have all
        reached the longest delay do not retry at the same moment.
        """
        try:
            grown = self.first * self.factor ** max(attempt - 1, 0)
        except OverflowError:
            grown = self.longest if self.first else 0.0
        return min(grown, self.longest) * jitter
