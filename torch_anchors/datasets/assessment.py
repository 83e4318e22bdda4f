"""How far a list of rules reaches and how often the model says the same, with bounds for all its prefixes at once.

The first j rules of a list are a list themselves, its *prefix* of j rules. Its *coverage* is the probability that any
of its rules holds on a new row, and its *fidelity* the probability that the model says what the list says where one
does.

The rows that are counted had no part in the list. Given the list, each of them is covered by a prefix independently of
the others, so that their number is binomial; and given which are covered, each of these agrees with the model
independently of the others, so that the number that agrees is binomial, too. So Clopper and Pearson's ends (Biometrika
26, 1934) hold for both shares: each errs with probability at most the level that it is taken at. A list of k rules has
k prefixes with two intervals of two ends each, and each end is taken at delta / (4 k). By Boole's inequality the
probability that any of them errs is at most delta. So all of them hold together, and a prefix may be chosen *after*
looking at them: what is said of it holds all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors._checks import between
from torch_anchors._shapes import Bool, Int
from torch_anchors.tables.count.binomial import lower_end
from torch_anchors.words import at_least, at_most, plural

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first rules of a list, counted on rows that had no part in choosing them.

    Attributes:
        n_rules: how many rules it has, at least 1.
        n_rows: rows that were counted.
        n_covered: those of them on which one of the rules holds.
        n_agreeing: those of these on which the model says what the list says.
        coverage_interval: holds the coverage, in [0, 1].
        fidelity_interval: holds the fidelity, in [0, 1].
    """

    n_rules: int
    n_rows: int
    n_covered: int
    n_agreeing: int
    coverage_interval: Interval
    fidelity_interval: Interval

    @property
    def coverage(self) -> float:
        """Share of the rows on which one of the rules holds."""
        return self.n_covered / self.n_rows

    @property
    def fidelity(self) -> float:
        """Share of the covered rows on which the model says what the list says; NaN where none is covered."""
        return self.n_agreeing / self.n_covered if self.n_covered else float("nan")

    @property
    def intervals(self) -> tuple[Interval, Interval]:
        """Of coverage and fidelity."""
        return self.coverage_interval, self.fidelity_interval

    def to_dict(self) -> dict[str, Any]:
        """The prefix as plain Python values; a fidelity that is not known is None."""
        return {
            "n_rules": self.n_rules,
            "n_covered": self.n_covered,
            "n_agreeing": self.n_agreeing,
            "coverage": self.coverage,
            "coverage_interval": list(self.coverage_interval),
            "fidelity": self.fidelity if self.n_covered else None,
            "fidelity_interval": list(self.fidelity_interval),
        }


@dataclass(frozen=True, slots=True, repr=False)
class Assessment:
    """Coverage and fidelity of every prefix of a list of rules. `RuleList.assess` makes one.

    Attributes:
        prefixes: of 1, 2, ... rules.
        words: what each rule adds to its prefix, in words.
        delta: the probability that any of the intervals misses its share; all the others hold at once.
    """

    prefixes: tuple[Prefix, ...]
    words: tuple[str, ...]
    delta: float

    @classmethod
    def of_rows(
        cls, which: Int[np.ndarray, " rows"], agrees: Bool[np.ndarray, " rows"], words: Sequence[str], delta: float
    ) -> Assessment:
        """The assessment on some rows.

        Args:
            which: number of the first rule that holds on each row, -1 for none.
            agrees: where the model says what that rule says.
            words: of each rule.
            delta: in (0, 1).
        """
        n, k = len(which), len(words)
        n_covered = np.bincount(which + 1, minlength=k + 1)[1:].cumsum()
        n_agreeing = np.bincount(which[agrees] + 1, minlength=k + 1)[1:].cumsum()
        coverages = _intervals(n_covered, np.full(k, n), delta / (4 * k))
        fidelities = _intervals(n_agreeing, n_covered, delta / (4 * k))
        counts = zip(n_covered.tolist(), n_agreeing.tolist(), coverages, fidelities, strict=True)
        return cls(tuple(Prefix(j + 1, n, *own) for j, own in enumerate(counts)), tuple(words), delta)

    def longest(self, fidelity: float) -> Prefix | None:
        """The longest prefix whose fidelity is at least this with the promised confidence; None if there is none."""
        between("fidelity", fidelity, "a share", closed="both")
        return next((own for own in reversed(self.prefixes) if own.fidelity_interval[0] >= fidelity), None)

    def to_dict(self) -> dict[str, Any]:
        """The assessment as plain Python values."""
        return {
            "n_rows": self.prefixes[0].n_rows,
            "delta": self.delta,
            "prefixes": [
                {"rule": words, **own.to_dict()} for words, own in zip(self.words, self.prefixes, strict=True)
            ],
        }

    def __str__(self) -> str:
        whole = self.prefixes[-1]
        low, high = at_least(whole.coverage_interval[0]), at_least(whole.fidelity_interval[0])
        agrees = f"agrees with the model on {whole.fidelity:.3f} of these (at least {high})"
        return (
            f"On {plural(whole.n_rows, 'row')} that had no part in choosing it, the list of "
            f"{plural(whole.n_rules, 'rule')} covers {whole.coverage:.3f} (at least {low}) and "
            f"{agrees if whole.n_covered else 'so agrees with the model on none'}. These bounds and those of all "
            f"shorter lists hold at once with {100 * (1 - self.delta):g} % confidence."
        )

    def __repr__(self) -> str:
        whole = self.prefixes[-1]
        return (
            f"Assessment({plural(whole.n_rules, 'rule')}, coverage={whole.coverage:.3f}, "
            f"fidelity={whole.fidelity:.3f}, {plural(whole.n_rows, 'row')}, delta={self.delta:g})"
        )

    def _repr_html_(self) -> str:
        """The prefixes as a table, for notebooks and reports."""
        lines = [
            (str(own.n_rules), words, *map(_with_ends, (own.coverage, own.fidelity), own.intervals))
            for words, own in zip(self.words, self.prefixes, strict=True)
        ]
        return html_of(str(self), ["", "up to the rule", "coverage", "fidelity"], lines)


def html_of(sentence: str, head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A sentence and below it a table, of which the second column is words and is aligned to the left."""

    def row(cells: Sequence[str], tag: str) -> str:
        looks = [" style='text-align:left'" if place == 1 else "" for place in range(len(cells))]
        return "".join(f"<{tag}{own}>{escape(cell)}</{tag}>" for own, cell in zip(looks, cells, strict=True))

    body = "".join(f"<tr>{row(line, 'td')}</tr>" for line in lines)
    head_line = f"<thead><tr>{row(head, 'th')}</tr></thead>"
    return f"<p>{escape(sentence)}</p><table>{head_line}<tbody>{body}</tbody></table>"


def _intervals(k: NDArray[np.int64], n: NDArray[np.int64], alpha: float) -> list[Interval]:
    """For `k` of `n` rows, both ends of the share, each of which errs with probability at most `alpha`."""
    low, high = lower_end(k, n, alpha), 1 - lower_end(n - k, n, alpha)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _with_ends(share: float, interval: Interval) -> str:
    return f"{share:.3f} ({at_least(interval[0])} to {at_most(interval[1])})"
