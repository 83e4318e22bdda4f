"""How many rows a search may still send to the model."""

from __future__ import annotations

from dataclasses import dataclass


class BudgetSpent(Exception):
    """No further row may be sent to the model."""


@dataclass(slots=True)
class RowBudget:
    """Rows that may be sent for an explanation, and those that were sent.

    Args:
        limit: most rows of the whole explanation; None for no bound.
        spent: rows sent so far.
    """

    limit: int | None
    spent: int = 0

    def spend(self, n: int) -> None:
        """Takes `n` rows that were sent into account."""
        self.spent += n

    def allows(self, n: int) -> bool:
        """Whether `n` more rows may be sent."""
        return self.limit is None or n <= self.limit - self.spent

    def at_most(self, n: int) -> int:
        """`n`, or as many rows as are left where that is less."""
        return n if self.limit is None else max(min(n, self.limit - self.spent), 0)
