"""The explanation of a row of a table: a rule, and how well and how widely it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors._shapes import Bool, Float, Shaped
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation, plain, reference_examples
from torch_anchors.found_anchor import FoundAnchor
from torch_anchors.packing import Fields, pack_array, pack_labels
from torch_anchors.partial_anchors import packed_step, step_of
from torch_anchors.search.protocol import NECESSARY, Status, Step
from torch_anchors.tables.nearest_row import EncodedMiss, NearestMiss
from torch_anchors.tables.picture import accumulated, plot_rules
from torch_anchors.tables.rule import Predicate, Rule, stated
from torch_anchors.tables.rule_anchor import RuleAnchor
from torch_anchors.tables.sampler import SAMPLINGS
from torch_anchors.tables.steps_html import steps_html
from torch_anchors.words import at_least, at_most, listed, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FEW_COVERED, LITTLE_COVERAGE = 10, 0.001
"""A rule that holds for fewer training rows, or a smaller share of them, is remarked upon."""


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """One row on which the anchor holds: its values by column name, the model's label, and whether that is a hit."""

    row: dict[str, Any]
    label: int | str
    hit: bool


@dataclass(frozen=True, slots=True)
class EncodedExamples:
    """Rows on which the anchor holds, as numbers and category codes: (n, columns), labels (n,) and hits (n,)."""

    rows: Float[np.ndarray, "rows columns"]
    labels: Shaped[np.ndarray, " rows"]
    hits: Bool[np.ndarray, " rows"]

    def to_fields(self) -> dict[str, Any]:
        """The rows in values that JSON knows."""
        arrays = {name: pack_array(getattr(self, name)) for name in ("rows", "hits")}
        return {**arrays, "labels": pack_labels(self.labels)}

    @classmethod
    def read(cls, fields: Fields, n_columns: int) -> EncodedExamples:
        """The rows that `to_fields` gave, of a table with so many columns.

        Raises:
            ArgumentError: they are not rows of such a table.
        """
        rows = fields.array("rows", kinds="f", ndim=(2,))
        fields.check(rows.shape[1] == n_columns, "rows", f"of {n_columns} columns")
        labels, hits = fields.labels("labels"), fields.array("hits", kinds="b", ndim=(1,))
        fields.check(len(rows) == len(labels) == len(hits), "labels", f"of {len(rows)} rows, like hits")
        return cls(rows, labels, hits)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class TabularExplanation(Explanation):
    """A rule on which the model keeps the label of the explained row.

    What `precision` is the share of depends on the explainer's `sampling`: rows whose other columns were replaced at
    random ("interventional"), or the training rows on which the rule holds ("conditional"). `coverage` is the share
    of training rows on which the rule holds. The count on training rows comes with either:
    `training_path[-1].precision` is the share of them that have the label.

    Attributes:
        rule: the anchor.
        instance: the explained row, as numbers and category codes (columns,).
        sampling: "interventional" or "conditional".
        training_path: share of hits among the training rows, and coverage, as the conditions of `names` accumulate.
        encoded_examples: what `examples` shows.
        encoded_miss: what `nearest_miss` shows.
        predict: the model's labels of a user's table; None in an explanation that was pickled or loaded from a file.
    """

    kind_of_anchor: ClassVar[type[FoundAnchor]] = RuleAnchor
    part: ClassVar[str] = "condition"

    rule: Rule
    instance: Float[np.ndarray, " columns"]
    sampling: str
    training_path: tuple[Step, ...]
    encoded_examples: EncodedExamples
    encoded_miss: EncodedMiss | None = None
    predict: Callable[[Any], NDArray[Any]] | None = None

    @property
    def n_labelled(self) -> int | None:
        """Training rows that the model labelled, once for all explanations; they are not among `n_rows`.

        None in a file of an earlier version.
        """
        return self.meta.get("n_labelled")

    def _cost_words(self) -> str:
        words = super()._cost_words()
        if not self.n_labelled:
            return words
        return f"{words[:-1]}, besides labels of {plural(self.n_labelled, 'training row')} that all explanations share."

    def _own_anchor(self) -> FoundAnchor:
        return RuleAnchor(**self._own_figures(), rule=self.rule, on_training=self.training_path[-1])

    @property
    def anchor(self) -> list[str]:
        """The conditions, in words, two bounds on one column merged; none for the empty anchor."""
        return self.rule.conditions

    @property
    def predicates(self) -> tuple[Predicate, ...]:
        """The elementary conditions as data: column, operator and value."""
        return self.rule.predicates

    @property
    def examples(self) -> tuple[ExampleRow, ...]:
        """Rows on which the anchor holds, hits first: drawn ones, or training rows where those were counted."""
        drawn = self.encoded_examples
        columns = self.rule.schema.decode(drawn.rows)
        return tuple(
            ExampleRow({name: values[i] for name, values in columns.items()}, label, hit)
            for i, (label, hit) in enumerate(zip(drawn.labels.tolist(), drawn.hits.tolist(), strict=True))
        )

    @property
    def nearest_miss(self) -> NearestMiss | None:
        """Of all rows that were tried, the one of another label with the fewest columns that are unlike the row.

        A drawn row or, where no drawn row has another label, a training row. None where all have the label, or in a
        file of an earlier version.
        """
        if self.encoded_miss is None:
            return None
        return self.encoded_miss.decoded(self.rule.schema, hit=self.question == NECESSARY)

    def _nearest_words(self) -> str:
        """Which row with another label is nearest; "" where none was tried."""
        miss = self.encoded_miss
        is_itself = miss is not None and not miss.changed and self.answer != self.label
        return "" if miss is None or is_itself else miss.in_words(self.rule.schema, self.in_words(miss.label))

    def attribution(self, kind: str = "order") -> Float[np.ndarray, " columns"]:
        """A number for each column of the table, (columns,) float32; a one-hot block is one column.

        Args:
            kind: "order" (the default) ranks all columns, in (0, 1]: the rule's first, from the one that the search
                added first, as far as it added them one by one, then by their effects; no two are equal. "marginal" is
                each column's effect on precision, in about [-1, 1], counted on the training rows: how much more often
                they have the label where they are like the explained row in the column (the rule holds for it, or it is
                in the same bin) than where they are not; 0 everywhere where all have it. With interventional sampling
                the other columns are adjusted for, by least squares. "member" is 1 in the rule and 0 elsewhere.

        Raises:
            ArgumentError: there is no such kind, or the explanation was saved before there were effects.
        """
        return super().attribution(kind)

    def _features_entered(self) -> list[set[int]]:
        """The rule's columns as the search added them; what was counted from left to right was not so found."""
        column_of = self._column_of()
        if self.path == self.training_path:
            return [set(column_of.values())]
        known: set[int] = set()
        added = []
        for predicates in self._entered():
            columns = {column_of[p] for p in predicates if p in column_of} - known
            known |= columns
            added.append(columns)
        return added

    def applies(self, X: Any) -> Bool[np.ndarray, " rows"]:
        """On which rows of a table the anchor holds; `X` is any table that the explainer takes."""
        return self.rule.applies(X)

    def coverage_on(self, X: Any) -> float:
        """Share of the rows of `X` on which the anchor holds."""
        return float(self.applies(X).mean())

    def precision_on(self, X: Any, labels: Sequence[int | str] | NDArray[Any] | None = None) -> float:
        """Share of the rows of `X` on which the anchor holds that have the explained label; NaN where it never holds.

        Args:
            X: any table that the explainer takes.
            labels: the model's labels of all rows of `X`; None to ask the model.
        """
        holds = self.applies(X)
        if labels is None:
            if self.predict is None:
                raise ArgumentError(
                    "labels must be given: this explanation was pickled or loaded, and has no model to ask."
                )
            labels = self.predict(X)
        labels = np.asarray(labels)
        if labels.shape != holds.shape:
            raise ArgumentError(f"labels must be one for each of the {len(holds)} rows of X, got {labels.shape}.")
        found = labels[holds]
        return float((found == self.label).mean()) if len(found) else float("nan")

    @property
    def raw(self) -> dict[str, Any]:
        """The entries of the reference's ``raw``; there is a partial anchor for each condition of `anchor`.

        ``feature`` has the columns of the conditions, ``names`` their words, ``predicates`` the ids of all elementary
        conditions, in the order in which they were added; those of a rule that was found as a whole from left to right.
        ``precision`` and ``coverage`` of a partial anchor that was not tried are those on the training rows. Rows are
        as arrays have them: numbers and category codes, one-hot if the explainer has ``ohe``.
        """
        drawn = self.encoded_examples
        covered = reference_examples(self._as_array(drawn.rows[drawn.hits]), self._as_array(drawn.rows[~drawn.hits]))
        instances = self._as_array(self.instance[None])
        return {
            **self._raw_numbers(),
            "examples": [dict(covered) for _ in range(max(len(self.anchor), 1))],
            "instance": instances[0],
            "instances": instances,
        }

    def _raw_numbers(self) -> dict[str, Any]:
        steps = self._by_column()
        words = dict(zip(sorted(steps), self.anchor, strict=True))
        column_of = self._column_of()
        return {
            **super()._raw_numbers(),
            "feature": list(steps),
            "predicates": [p for column in steps for p in self.features if column_of[p] == column],
            "names": [words[column] for column in steps],
            "mean": [step.precision for step in steps.values()],
            "precision": [step.precision for step in steps.values()],
            "coverage": [step.coverage for step in steps.values()],
            "all_precision": self.training_path[0].precision,
        }

    def _by_column(self) -> dict[int, Step]:
        """The partial anchors by the column that each adds: in the search's order, if it tried them all."""
        column_of = self._column_of()
        tried = {frozenset(step.anchor): step for step in self._partial()}
        counted = {frozenset(step.anchor): step for step in self.training_path[1:]} | tried
        added = list(dict.fromkeys(column_of[p] for step in self._partial() for p in step.anchor))
        for order, known in ((added, tried), (sorted(added), counted)):
            prefixes = [
                frozenset(p for p in self.features if column_of[p] in order[: i + 1]) for i in range(len(order))
            ]
            if all(prefix in known for prefix in prefixes):
                return {column: known[prefix] for column, prefix in zip(order, prefixes, strict=True)}
        raise AssertionError("the training path has every partial anchor from left to right")

    def _column_of(self) -> dict[int, int]:
        """The column of each of the anchor's predicates."""
        return dict(zip(self.features, (predicate.column for predicate in self.rule.predicates), strict=True))

    def _as_array(self, rows: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows features"]:
        """Encoded rows as a user's arrays have them."""
        return self.rule.schema.encoder("cpu")(torch.tensor(rows)).numpy()

    def to_dict(self) -> dict[str, Any]:
        """As `Explanation.to_dict`, with the predicates and what they amount to on the training rows."""
        predicates = [{"column": p.name, "operator": p.operator, "value": plain(p.value)} for p in self.rule.predicates]
        steps = [{"precision": s.precision, "coverage": s.coverage, "n": s.n} for s in self.training_path]
        found = {"predicates": predicates, "sampling": self.sampling, "training_path": steps}
        return {**super().to_dict(), "n_labelled": self.n_labelled, **found}

    def to_fields(self) -> dict[str, Any]:
        """As `Explanation.to_fields`, with the rule, its columns, the row and the examples; the model is left out."""
        return {
            **super().to_fields(),
            "rule": self.rule.to_fields(),
            "instance": pack_array(self.instance),
            "sampling": self.sampling,
            "training_path": [packed_step(step) for step in self.training_path],
            "examples": self.encoded_examples.to_fields(),
            "nearest_miss": None if self.encoded_miss is None else self.encoded_miss.to_fields(),
        }

    @classmethod
    def read_fields(cls, fields: Fields) -> dict[str, Any]:
        """As `Explanation.read_fields`; the explanation has no model to ask."""
        rule = Rule.read(fields.fields("rule"))
        n_columns = len(rule.schema.columns)
        instance = fields.array("instance", kinds="f", ndim=(1,))
        fields.check(len(instance) == n_columns, "instance", f"of {n_columns} columns")
        n = len(rule.predicates)
        fields.check(len(fields.wholes("features")) == n, "features", f"ids of the rule's {n} predicates")
        common = super().read_fields(fields)
        fits = common["effects"] is None or len(common["effects"]) == n_columns
        fields.check(fits, "effects", f"of {n_columns} columns")
        for name in ("fixed", "excluded"):
            fields.check(all(i < n_columns for i in common.get(name, ())), name, f"numbers below {n_columns}")
        has_miss = "nearest_miss" in fields and fields.get("nearest_miss") is not None  # earlier versions had none
        path = tuple(map(step_of, fields.each("training_path")))
        fields.check(len(path) == len(rule.conditions) + 1, "training_path", f"of {len(rule.conditions) + 1} steps")
        return {
            **common,
            "rule": rule,
            "instance": instance,
            "sampling": fields.word("sampling", SAMPLINGS),
            "training_path": path,
            "encoded_examples": EncodedExamples.read(fields.fields("examples"), n_columns),
            "encoded_miss": EncodedMiss.read(fields.fields("nearest_miss"), n_columns) if has_miss else None,
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Figure of precision and coverage on training rows as the conditions accumulate. Needs matplotlib.

        Where several anchors were found, each of the others has a line of its own below. The nearest row of another
        label is told in words.

        Args:
            path: where the figure is also saved; the suffix chooses the format.
        """
        others = [other for other in self.others if isinstance(other, RuleAnchor)]
        return plot_rules(
            self.training_path,
            accumulated("no condition", self.anchor),
            threshold=self.threshold,
            title=f"{self.label_words}: {self._precision_words()}",
            notes=self._nearest_words(),
            others={" and ".join(other.rule.conditions): other.on_training for other in others},
            path=path,
        )

    @classmethod
    def plot_many(
        cls, explanations: Sequence[TabularExplanation], *, columns: int = 4, path: str | Path | None = None
    ) -> Figure:
        """Figure of several rules, a line for each, with their precision and coverage on training rows."""
        rules = [f"{one.label_words}: {' and '.join(one.anchor) or 'no condition'}" for one in explanations]
        steps = [one.training_path[-1] for one in explanations]
        thresholds = {one.threshold for one in explanations}
        threshold = thresholds.pop() if len(thresholds) == 1 else None
        title = f"{plural(len(rules), 'rule')}, and what the training rows say of them"
        return plot_rules(steps, rules, threshold=threshold, title=title, path=path)

    @property
    def remark(self) -> str:
        """Says so where the rule holds for hardly any training row."""
        n = self.training_path[-1].n
        if not self.features or not self.success or (n >= FEW_COVERED and self.coverage >= LITTLE_COVERAGE):
            return ""
        rows = "no training row" if n == 0 else f"only {plural(n, 'training row')}"
        other = "fewer, coarser conditions (disc_perc, max_anchor_size) or a lower threshold"
        remedy = f'sampling="conditional", {other}' if self.sampling == "interventional" else other
        return f"It holds for {rows}, and so says little beyond the explained row; {remedy} may give a wider rule."

    def _precision_words(self) -> str:
        if self.status is not Status.COUNTED:
            return super()._precision_words()
        low, high = (bound(end) for bound, end in zip((at_least, at_most), self.precision_interval, strict=True))
        on_training = f"{self.training_path[-1].precision:.3f} on the training rows it was chosen on"
        confidence = f"{100 * (1 - self.delta):g} % confidence"
        return f"precision {on_training}, and between {low} and {high} on new rows with {confidence}"

    @property
    def _while_fixed(self) -> str:
        """What stays as it is in every row, in words; "" where all columns vary."""
        kept = [stated(self.rule.schema.columns[i], float(self.instance[i])) for i in self.fixed]
        return f" while {listed(kept)} {'stays' if len(kept) == 1 else 'stay'}" if kept else ""

    def __str__(self) -> str:
        return f"{self.found_in_words()} {self._cost_words()}"

    def found_in_words(self) -> str:
        """What was found, in a few sentences."""
        what, share = self.label_words, f"{100 * self.coverage:.3g} % of the training rows"
        kept = self._while_fixed
        if self.status is Status.EMPTY_HOLDS:
            first = (
                f"The model answers {what} on nearly every row{kept}, with {self._precision_words()}: no condition is "
                "needed."
            )
        elif not self.features:
            first = f"No conditions were found that keep {what}{kept}: without any, it has {self._precision_words()}."
        else:
            others = f", whatever the other columns hold{kept}" if self.sampling == "interventional" else ""
            first = (
                f"Where {' and '.join(self.anchor)}, the model answers {what} with {self._precision_words()}{others}; "
                f"that covers {share}."
            )
        others, remedy = self._others_words("column"), self._remedy("conditions")
        said = [first, others, self.remark, self._answer_words(), self._nearest_words(), remedy]
        return " ".join(part for part in said if part)

    def _repr_html_(self) -> str:
        """The rule as a table, for notebooks."""
        steps = zip(["no condition", *self.anchor], self.training_path, strict=True)
        others = [(f"or: {one.rule}", one.on_training) for one in self.others if isinstance(one, RuleAnchor)]
        return steps_html(self.found_in_words(), "on training rows", [*steps, *others])

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the model, which may be large and need not be picklable."""
        return {**self.__dict__, "predict": None}
