"""An ordered list of certified rules, which predicts what a model says of a row, or abstains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from torch_anchors._checks import MOST, between, is_whole, whole
from torch_anchors._shapes import Int, Shaped
from torch_anchors.datasets.assessment import Assessment, html_of
from torch_anchors.datasets.distinct import DistinctRules, holding, of_rows
from torch_anchors.datasets.greedy import chosen_greedily
from torch_anchors.datasets.model_labels import Labels, model_labels
from torch_anchors.engine.digest import digest_of
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation, plain
from torch_anchors.tables import bitsets
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.words import at_least, plural


class RuleList:
    """Rules of explanations in an order: the first one that holds on a row says its label; where none does, nobody.

    Such a list is a *decision list* (Rivest, Machine Learning 2, 1987) that may abstain. It describes a model on a
    whole table in a few lines, and `assess` says how well. Rules that each reach their threshold need not reach it as a
    list, because a rule answers only for rows that no rule before it holds on; `from_explanations` looks at the list
    when it chooses.

    Args:
        explanations: of rows of a table, at least one, in the order of the list. All must reach their threshold
            (`success`).

    Attributes:
        explanations: those that the rules are of.

    Raises:
        ArgumentError: explanations of something else, none, or one that does not reach its threshold.

    Example:
        >>> rules = RuleList.from_explanations(explanations, rows, k=5)  # doctest: +SKIP
        >>> rules.predict(new_rows)  # doctest: +SKIP
        >>> print(rules.assess(held_out_rows))  # doctest: +SKIP
    """

    def __init__(self, explanations: Iterable[Explanation]) -> None:
        found = of_rows(explanations)
        if not found:
            raise ArgumentError("explanations must be at least one, got none.")
        for number, one in enumerate(found):
            if not one.success:
                raise ArgumentError(
                    f"explanations must reach their threshold (success); number {number} has the status "
                    f"{one.status.value!r}. Leave it out."
                )
        self.explanations = tuple(found)
        self._chosen_on: str | None = None

    @classmethod
    def from_explanations(
        cls,
        explanations: Iterable[Explanation],
        X: Any,
        k: int = 10,
        *,
        labels: Labels = None,
        fidelity: float | None = None,
    ) -> RuleList:
        """A list of a few rules that together cover many rows of a table and agree with the model there.

        The next rule is always the one that adds the most rows on which it agrees with the model, of those with which
        the list so far agrees with the model on at least the share `fidelity` of the rows of `X` that it covers.

        Args:
            explanations: of rows of a table. Those that do not reach their threshold (`success`) are left out, and of
                several with the same rule the first is taken.
            X: the rows to choose by, any table that the explainer takes. The bounds of `assess` need others.
            k: most rules, at least 1. There are fewer when no other adds a row.
            labels: the model's labels of all rows of `X`, or a function of `X` that returns them; None to ask the
                model.
            fidelity: in [0, 1]; None for the lowest threshold of the explanations. A higher one gives a list that
                covers less and is right more often.

        Raises:
            ArgumentError: explanations of something else, or none that reaches its threshold; a table without rows, or
                with other columns; labels that do not fit; or no rule that agrees with the model so often.
        """
        whole("k", k, least=1, most=MOST)
        if fidelity is not None:
            between("fidelity", fidelity, "None or a share", closed="both")
        rules = DistinctRules(explanations, X)
        own = rules.explanations
        answers = model_labels(labels, X, rules.n_rows, own)
        known = sorted({one.label for one in own}, key=str)
        agreeing = bitsets.pack(torch.from_numpy(np.stack([answers == label for label in known])))
        hits = rules.holds & agreeing[[known.index(one.label) for one in own]]
        least = min(one.threshold for one in own) if fidelity is None else fidelity
        chosen = chosen_greedily(rules.holds, hits, k, least)
        if not chosen:
            raise ArgumentError(
                f"explanations must have a rule that agrees with the model on a share of at least {least:g} of the "
                f"rows of X where it holds; of {plural(len(own), 'different rule')} none does. Lower fidelity, or see "
                "whether labels are those of the explained model."
            )
        made = cls([own[i] for i in chosen])
        made._chosen_on = _digest(own[0], X)
        return made

    def which(self, X: Any) -> Int[np.ndarray, " rows"]:
        """For each row of a table the number, from 0, of the first rule that holds; -1 where none does."""
        masks = list(holding(self.explanations, X))
        first = np.full(len(masks[0]), -1, dtype=np.int64)
        for number, mask in reversed(list(enumerate(masks))):
            first[mask] = number
        return first

    def predict(self, X: Any, otherwise: Any = -1) -> Shaped[np.ndarray, " rows"]:
        """For each row of a table what the model says of it, according to the list.

        Args:
            X: any table that the explainer takes.
            otherwise: what rows get on which no rule holds.

        Returns:
            Labels as the explanations have them: int64, or objects where some are class names or `otherwise` is no
            whole number.
        """
        return self._answers(otherwise)[self.which(X)]  # -1 is the last

    def assess(self, X: Any, labels: Labels = None, *, delta: float = 0.05) -> Assessment:
        """Coverage and fidelity of the list and of all shorter ones, with bounds that hold for all of them at once.

        Args:
            X: rows that had no part in the list: neither those that it was chosen on, nor those that were explained,
                nor the training rows of the explainer. What is said of new rows is about rows like these.
            labels: the model's labels of all rows of `X`, or a function of `X` that returns them; None to ask the
                model.
            delta: the probability that any bound is wrong, in (0, 1).

        Raises:
            ArgumentError: the very rows that the list was chosen on, a table without rows or with other columns, or
                labels that do not fit.
        """
        between("delta", delta, "a probability")
        which = self.which(X)
        if not len(which):
            raise ArgumentError("X must be a table of at least one row, got none.")
        if self._chosen_on == _digest(self.explanations[0], X):
            raise ArgumentError(
                "X must be rows that had no part in choosing the list, got those it was chosen on, on which it looks "
                "better than it is. Keep some rows back for assess."
            )
        answers = model_labels(labels, X, len(which), self.explanations)
        return Assessment.of_rows(which, answers == self._answers(None)[which], self.words, delta)

    def first(self, n: int) -> RuleList:
        """The list of the first `n` rules, at least 1."""
        whole("n", n, least=1, most=len(self))
        made = RuleList(self.explanations[:n])
        made._chosen_on = self._chosen_on
        return made

    @property
    def words(self) -> tuple[str, ...]:
        """Each rule in words, such as "where age > 37.00 and job = nurse: label 1"."""
        return tuple(f"{_where(one)}: {one.label_words}" for one in self.explanations)

    def to_dict(self) -> dict[str, Any]:
        """The list as plain Python values, in its order."""
        return {"rules": [_plain_rule(one) for one in self.explanations]}

    def _answers(self, otherwise: Any) -> Shaped[np.ndarray, " answers"]:
        """What each rule says, and last what is said where none holds."""
        answers: list[Any] = [*(one.label for one in self.explanations), otherwise]
        found = np.empty(len(answers), dtype=np.int64 if all(map(is_whole, answers)) else object)
        found[:] = answers
        return found

    def __len__(self) -> int:
        return len(self.explanations)

    def __repr__(self) -> str:
        return f"RuleList({list(self.words)})"

    def __str__(self) -> str:
        return "\n".join(
            [*(f"{number}. {words}" for number, words in enumerate(self.words, 1)), "Elsewhere the list says nothing."]
        )

    def _repr_html_(self) -> str:
        """The rules as a table, for notebooks and reports."""
        lines = [
            (str(number), _where(one), one.label_words, at_least(one.precision_interval[0]), f"{one.coverage:.3f}")
            for number, one in enumerate(self.explanations, 1)
        ]
        head = ["", "the first of these", "says", "precision at least", "coverage"]
        return html_of("Elsewhere the list says nothing.", head, lines)


def _where(explanation: TabularExplanation) -> str:
    return f"where {' and '.join(explanation.anchor)}" if explanation.anchor else "everywhere"


def _plain_rule(explanation: TabularExplanation) -> dict[str, Any]:
    predicates = [{"column": p.name, "operator": p.operator, "value": plain(p.value)} for p in explanation.predicates]
    return {
        "conditions": list(explanation.anchor),
        "predicates": predicates,
        "label": explanation.label,
        "label_name": explanation.label_name,
        "precision": explanation.precision,
        "precision_interval": list(explanation.precision_interval),
        "coverage": explanation.coverage,
        "threshold": explanation.threshold,
        "delta": explanation.delta,
        "sampling": explanation.sampling,
    }


def _digest(explanation: TabularExplanation, X: Any) -> str:
    """Of the rows of a table, by which the same ones are known again."""
    return digest_of(explanation.rule.schema.encode(X))
