"""An ordered list of certified rules, which predicts what a model says of a row, or abstains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from torch_anchors._checks import MOST, between, is_whole, whole
from torch_anchors._shapes import Int, Shaped
from torch_anchors.datasets.assessment import Assessment, html_of
from torch_anchors.datasets.distinct import DistinctRules, holding, of_rows, successful
from torch_anchors.datasets.evaluated_rules import evaluated_rules
from torch_anchors.datasets.evaluation import Evaluation
from torch_anchors.datasets.found_rule import FoundRule
from torch_anchors.datasets.greedy import chosen_greedily
from torch_anchors.datasets.model_labels import Labels, model_labels
from torch_anchors.engine.digest import digest_of
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation
from torch_anchors.tables import bitsets
from torch_anchors.tables.anchor_tabular import AnchorTabular
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.words import at_least, plural

Predict = Callable[[Any], Any] | None


class RuleList:
    """Rules in an order: the first one that holds on a row says its label; where none does, the list says nothing.

    Such a list is a *decision list* (Rivest, Machine Learning 2, 1987) that may abstain. It describes a model on a
    whole table in a few lines, and `assess` says how well. Rules that each reach their threshold need not reach it as a
    list, because a rule answers only for rows that no rule before it holds on; `from_explanations` and
    `from_evaluation` look at the list when they choose, and `in_order` takes what it is given.

    Attributes:
        rules: in their order, at least one.

    Example:
        >>> rules = RuleList.from_explanations(explanations, rows, k=5)  # doctest: +SKIP
        >>> rules.predict(new_rows)  # doctest: +SKIP
        >>> print(rules.assess(held_out_rows))  # doctest: +SKIP
    """

    def __init__(self, rules: Iterable[FoundRule], *, predict: Predict = None, chosen_on: str | None = None) -> None:
        self.rules = tuple(rules)
        self._predict = predict
        self._chosen_on = chosen_on

    @classmethod
    def in_order(cls, explanations: Iterable[Explanation]) -> RuleList:
        """The list of the rules of these explanations, in their order.

        Args:
            explanations: of rows of a table, at least one. All must reach their threshold (`success`).

        Raises:
            ArgumentError: explanations of something else, none, or one that does not reach its threshold.
        """
        found = of_rows(explanations)
        if not found:
            raise ArgumentError("explanations must be at least one, got none.")
        for number, one in enumerate(found):
            if not one.success:
                raise ArgumentError(
                    f"explanations must reach their threshold (success); number {number} has the status "
                    f"{one.status.value!r}. Leave it out."
                )
        return cls(map(FoundRule.of, found), predict=_model_of(found))

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
            fidelity: in [0, 1]; None for the lowest threshold of the rules. A higher one gives a list that covers less
                and is right more often.

        Raises:
            ArgumentError: explanations of something else, or none that reaches its threshold; a table without rows, or
                with other columns; labels that do not fit; or no rule that agrees with the model so often.
        """
        found = successful(explanations)
        _check_one_question(found)
        return cls._chosen([FoundRule.of(one) for one in found], X, k, labels, fidelity, _model_of(found))

    @classmethod
    def from_evaluation(
        cls,
        evaluation: Evaluation,
        explainer: AnchorTabular,
        X: Any,
        k: int = 10,
        *,
        labels: Labels = None,
        fidelity: float | None = None,
    ) -> RuleList:
        """The same of what `evaluate` has written about a table.

        Args:
            evaluation: of the rows that were explained so far.
            explainer: by which they were explained, which knows the columns and has the model to ask.
            X: the rows to choose by, as for `from_explanations`.
            k: most rules.
            labels: the model's labels of `X`; None to ask the explainer.
            fidelity: share of rows on which the list must agree with the model.

        Raises:
            ArgumentError: the evaluation is by another explainer; or as `from_explanations`.
            ImportError: pyarrow is not installed.
        """
        found = evaluated_rules(evaluation, explainer)
        return cls._chosen(found, X, k, labels, fidelity, explainer.predict)

    @classmethod
    def _chosen(
        cls, found: Sequence[FoundRule], X: Any, k: int, labels: Labels, fidelity: float | None, predict: Predict
    ) -> RuleList:
        whole("k", k, least=1, most=MOST)
        if fidelity is not None:
            between("fidelity", fidelity, "None or a share", closed="both")
        distinct = DistinctRules(found, X)
        rules = distinct.rules
        answers = model_labels(labels, X, distinct.n_rows, predict=predict, named=isinstance(rules[0].label, str))
        known = sorted({one.label for one in rules}, key=str)
        agreeing = bitsets.pack(torch.from_numpy(np.stack([answers == label for label in known])))
        hits = distinct.holds & agreeing[[known.index(one.label) for one in rules]]
        least = min(one.threshold for one in rules) if fidelity is None else fidelity
        chosen = chosen_greedily(distinct.holds, hits, k, least)
        if not chosen:
            raise ArgumentError(
                f"fidelity must be lower: of {plural(len(rules), 'different rule')} none agrees with the model on at "
                f"least {least:g} of the rows of X where it holds. Or are labels not those of the explained model?"
            )
        return cls([rules[i] for i in chosen], predict=predict, chosen_on=_digest(rules[0], X))

    def which(self, X: Any) -> Int[np.ndarray, " rows"]:
        """For each row of a table the number, from 0, of the first rule that holds; -1 where none does."""
        masks = list(holding(self.rules, X))
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
            Labels as the explainer has them: int64, or objects where some are class names or `otherwise` is no
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
        if self._chosen_on == _digest(self.rules[0], X):
            raise ArgumentError(
                "X must be rows that had no part in choosing the list, got those it was chosen on, on which it looks "
                "better than it is. Keep some rows back for assess."
            )
        named = isinstance(self.rules[0].label, str)
        answers = model_labels(labels, X, len(which), predict=self._predict, named=named)
        return Assessment.of_rows(which, answers == self._answers(None)[which], self.words, delta)

    def first(self, n: int) -> RuleList:
        """The list of the first `n` rules, at least 1."""
        whole("n", n, least=1, most=len(self))
        return RuleList(self.rules[:n], predict=self._predict, chosen_on=self._chosen_on)

    @property
    def words(self) -> tuple[str, ...]:
        """Each rule in words, such as "where age > 37.00 and job = nurse: label 1"."""
        return tuple(f"{one.where}: {one.says}" for one in self.rules)

    def to_dict(self) -> dict[str, Any]:
        """The list as plain Python values, in its order."""
        return {"rules": [one.to_dict() for one in self.rules]}

    def _answers(self, otherwise: Any) -> Shaped[np.ndarray, " answers"]:
        """What each rule says, and last what is said where none holds."""
        answers: list[Any] = [*(one.label for one in self.rules), otherwise]
        found = np.empty(len(answers), dtype=np.int64 if all(map(is_whole, answers)) else object)
        found[:] = answers
        return found

    def __len__(self) -> int:
        return len(self.rules)

    def __repr__(self) -> str:
        return f"RuleList({list(self.words)})"

    def __str__(self) -> str:
        return "\n".join(
            [*(f"{number}. {words}" for number, words in enumerate(self.words, 1)), "Elsewhere the list says nothing."]
        )

    def _repr_html_(self) -> str:
        """The rules as a table, for notebooks and reports."""
        lines = [
            (str(number), one.where, one.says, at_least(one.precision_interval[0]), f"{one.coverage:.3f}")
            for number, one in enumerate(self.rules, 1)
        ]
        sentence = "The first of these rules that holds gives the label; where none does, the list says nothing."
        head = ["", "rule", "says", "precision at least", "coverage"]
        return html_of(sentence, head, lines)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the model, which may be large and need not be picklable."""
        return {**self.__dict__, "_predict": None}


def _check_one_question(explanations: Sequence[TabularExplanation]) -> None:
    """Raises an ArgumentError where labels of two explanations do not mean the same."""
    first = explanations[0]
    for one in explanations:
        if (one.target, one.said) != (first.target, first.said):
            raise ArgumentError(
                f"explanations must be about the same labels, got some with target={first.target} "
                f"{first.said or ''} and some with target={one.target} {one.said or ''}. A list of rules needs a "
                "target that gives each row a label by itself, such as Between(low, high)."
            )


def _model_of(explanations: Iterable[TabularExplanation]) -> Predict:
    """What asks the explained model, where any of its explanations still knows it."""
    return next((one.predict for one in explanations if one.predict is not None), None)


def _digest(rule: FoundRule, X: Any) -> str:
    """Of the rows of a table, by which the same ones are known again."""
    return digest_of(rule.rule.schema.encode(X))
