"""Many explanations as a list that can be drawn, and that a notebook shows."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, TypeVar

from torch_anchors._checks import whole
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation
from torch_anchors.plot_style import Figure
from torch_anchors.words import at_least

Some = TypeVar("Some", bound=Explanation)

MOST_SHOWN = 100
"""Explanations of which a notebook shows a line each."""


class Explanations(list[Some]):
    """Explanations of many instances, in their order, as ``explain_batch`` returns them.

    Example:
        >>> from torch_anchors import AnchorTabular
        >>> rows = np.random.default_rng(0).normal(size=(500, 2))
        >>> explainer = AnchorTabular(lambda x: (x[:, 0] > 0).astype(int), ["a", "b"], seed=0).fit(rows)
        >>> len(explainer.explain_batch(rows[:3]))
        3
    """

    def plot(self, *, columns: int = 4, path: str | Path | None = None) -> Figure:
        """One figure of all of them: images side by side with their anchors, or a line for each rule. Needs matplotlib.

        Args:
            columns: how many images stand side by side; of no effect for tables.
            path: where the figure is also saved; the suffix chooses the format.

        Raises:
            ArgumentError: there are none, or they are of several kinds, or of a kind that has no such figure.
        """
        whole("columns", columns, least=1)
        kinds = {type(one) for one in self}
        if len(kinds) != 1:
            got = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
            raise ArgumentError(f"explanations must be some, all of one kind, to be drawn together; got {got}.")
        return kinds.pop().plot_many(self, columns=columns, path=path)

    def _repr_html_(self) -> str:
        """A table with a line for each, for notebooks."""
        names = ("", "answer", "anchor", "precision", "coverage", "status")
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in names)
        lines = "".join(map(_line, range(len(self)), self[:MOST_SHOWN]))
        more = f"<p>and {len(self) - MOST_SHOWN:,} more</p>" if len(self) > MOST_SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{more}"

    def __getitem__(self, key: Any) -> Any:
        """One of them, or several as such a list."""
        found = super().__getitem__(key)
        return Explanations(found) if isinstance(key, slice) else found


def _line(number: int, explanation: Explanation) -> str:
    low, high = explanation.precision_interval
    precision = f"{low:.3f}" if low == high else f"at least {at_least(low)}"
    anchor = " and ".join(explanation.names) or "empty"
    cells = (
        str(number),
        explanation.label_words,
        anchor,
        precision,
        f"{100 * explanation.coverage:.3g} %",
        explanation.status.value,
    )
    return f"<tr>{''.join(f'<td style=text-align:left>{escape(cell)}</td>' for cell in cells)}</tr>"
