"""Which of a row's values are necessary for the model's answer: rows made ready to be asked so, and the explanation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors._shapes import Float
from torch_anchors.engine.job import Case
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.runner import Finished
from torch_anchors.explanation import Explanation, reference_examples
from torch_anchors.found_anchor import FoundAnchor
from torch_anchors.packing import Fields, pack_number
from torch_anchors.search.protocol import Anchor, Status, Step
from torch_anchors.seeds import stream
from torch_anchors.tables.column_sampler import ColumnSampler
from torch_anchors.tables.explanation import EncodedExamples, TabularExplanation
from torch_anchors.tables.fitted import FittedTable
from torch_anchors.tables.nearest_row import EncodedMiss
from torch_anchors.tables.picture import accumulated, plot_rules
from torch_anchors.tables.rule import Predicate, Rule, stated
from torch_anchors.tables.schema import TableSchema
from torch_anchors.tables.steps_html import steps_html
from torch_anchors.words import listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColumnsCase(Case):
    """A row of which it is asked which columns' values are necessary; it has a sampler of its own."""

    sampler: ColumnSampler
    row: Float[np.ndarray, " columns"]
    fixed: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()


def columns_cases(
    fitted: FittedTable,
    predictor: Predictor,
    rows: Float[np.ndarray, "rows columns"],
    fixed: tuple[int, ...] = (),
    excluded: tuple[int, ...] = (),
    *,
    seed: int,
) -> list[ColumnsCase]:
    """Rows made ready to be asked which of their values are necessary.

    Args:
        fitted: the training rows, whose values stand in for the rows' own.
        predictor: the model.
        rows: to explain.
        fixed: columns that always keep a row's value.
        excluded: columns that are in no anchor.
        seed: of the random streams.
    """
    replacements = fitted.replacements().values
    to_model = fitted.schema.encoder(predictor.device)
    made = []
    for row in torch.as_tensor(rows, dtype=replacements.dtype).numpy():
        sampler = ColumnSampler(
            row,
            replacements,
            to_model=to_model,
            fixed=fixed,
            exclude=excluded,
            repeatable=predictor.repeats,
            dtype=predictor.row_dtype,
        )
        rng = stream(seed, row.tobytes())
        case = ColumnsCase(
            sampler=sampler,
            rng=rng,
            changes=True,
            as_array=fitted.given.as_array,
            row=row,
            fixed=fixed,
            excluded=excluded,
        )
        made.append(case)
    return made


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class NecessaryExplanation(TabularExplanation):
    """Columns of a row whose values, when they are replaced, change the model's label whatever the others hold.

    Replaced values of a perturbed row are all those of one random training row; each column outside the anchor is
    replaced with probability 0.5. `precision` is the share of such rows that have another label than the explained
    one, and `coverage` the share of perturbed rows in which all of the anchor is replaced. `features` are the numbers
    of the columns, and `training_path` is `path`. `rule` says which values the row has there, and what follows from it
    (`applies`, `coverage_on`, `precision_on`) is about rows that have the same.

    Attributes:
        all_replaced: share of rows with another label where every column is replaced; None where some are fixed, or
            the model does not repeat its answers, so that the training rows' labels do not say it.
    """

    kind_of_anchor = FoundAnchor
    part = "column"

    all_replaced: float | None = None

    def _own_anchor(self) -> FoundAnchor:
        return FoundAnchor(**self._own_figures())

    @property
    def anchor(self) -> list[str]:
        """The columns with the values that they have in the row, in words; none for the empty anchor."""
        return list(self.names)

    def attribution(self, kind: str = "order") -> Float[np.ndarray, " columns"]:
        """As `Explanation.attribution`; of "marginal", by how much more often replacing a column changes the label.

        Raises:
            ArgumentError: there is no such kind, or the explanation has no effects.
        """
        return Explanation.attribution(self, kind)

    def _features_entered(self) -> list[set[int]]:
        return self._entered()

    @property
    def raw(self) -> dict[str, Any]:
        """As `Explanation.raw`; ``feature`` has the columns in the order in which the search added them."""
        drawn = self.encoded_examples
        covered = reference_examples(self._as_array(drawn.rows[drawn.hits]), self._as_array(drawn.rows[~drawn.hits]))
        instances = self._as_array(self.instance[None])
        return {
            **self._raw_numbers(),
            "examples": [dict(covered) for _ in range(max(len(self.features), 1))],
            "instance": instances[0],
            "instances": instances,
        }

    def _raw_numbers(self) -> dict[str, Any]:
        return Explanation._raw_numbers(self)

    def to_dict(self) -> dict[str, Any]:
        """As `TabularExplanation.to_dict`, with `all_replaced`; there is no path on training rows."""
        found = {**super().to_dict(), "all_replaced": self.all_replaced}
        del found["training_path"]
        return found

    def to_fields(self) -> dict[str, Any]:
        """As `TabularExplanation.to_fields`, with `all_replaced`."""
        share = None if self.all_replaced is None else pack_number(self.all_replaced)
        return {**super().to_fields(), "all_replaced": share}

    @classmethod
    def read_fields(cls, fields: Fields) -> dict[str, Any]:
        """As `TabularExplanation.read_fields`."""
        known = fields.get("all_replaced") is not None
        return {**super().read_fields(fields), "all_replaced": fields.number("all_replaced") if known else None}

    def plot(self, path: str | Path | None = None) -> Figure:
        """Figure of precision and coverage as more columns are replaced, in the order of the search. Needs matplotlib.

        Args:
            path: where the figure is also saved; the suffix chooses the format.
        """
        conditions = accumulated("nothing in particular", self._added)
        title = f"No longer {self.label_words}: {self._precision_words()}"
        others = {
            " and ".join(other.names): Step(other.features, other.precision, other.coverage, 0) for other in self.others
        }
        return plot_rules(
            self._steps,
            conditions,
            threshold=self.threshold,
            title=title,
            notes=self._nearest_words(),
            others=others,
            path=path,
        )

    @property
    def _steps(self) -> list[Step]:
        """The partial anchors from the empty one to the whole."""
        return [self.path[0], *self._partial()]

    @property
    def _added(self) -> list[str]:
        """What each partial anchor adds to the one before, in words."""
        words = dict(zip(self.features, self.names, strict=True))
        return [" and ".join(words[k] for k in sorted(added)) for added in self._entered()]

    @property
    def remark(self) -> str:
        """Says what replacing everything does, where that does not reach the threshold either."""
        if self.all_replaced is None or self.success or self.all_replaced >= self.threshold:
            return ""
        return (
            f"Even with all columns replaced, only {100 * self.all_replaced:.3g} % of rows have another label: so many "
            "of the training rows do."
        )

    def _precision_words(self) -> str:
        return Explanation._precision_words(self)

    def found_in_words(self) -> str:
        """What was found, in a few sentences."""
        what, precision, kept = self.label_words, self._precision_words(), self._while_fixed
        chance = "each with probability 0.5"
        if self.status is Status.EMPTY_HOLDS:
            first = (
                f"With columns replaced at random ({chance}) by those of a training row{kept}, the model answers "
                f"something else than {what} anyway, with {precision}: none needs to be replaced in particular."
            )
        elif not self.features:
            first = (
                f"No columns were found whose values are necessary for {what}{kept}: with none replaced in particular, "
                f"the change has {precision}."
            )
        else:
            first = (
                f"With {listed(self.names)} replaced by the value{'s' * (len(self.names) > 1)} of a random training "
                f"row, the model answers something else than {what} with {precision}, whether or not the other columns "
                f"are replaced as well ({chance}){kept}."
            )
        others, remedy = self._others_words("column"), self._remedy("columns")
        said = [first, others, self.remark, self._answer_words(), self._nearest_words(), remedy]
        return " ".join(part for part in said if part)

    def _repr_html_(self) -> str:
        """The columns as a table, for notebooks."""
        steps = zip(["nothing in particular", *self._added], self._steps, strict=True)
        return steps_html(self.found_in_words(), "replaced", steps)


def necessary_explanation(
    found: Finished[ColumnsCase],
    common: dict[str, Any],
    fitted: FittedTable,
    *,
    repeats: bool,
    shown: Callable[[NDArray[np.int64]], NDArray[Any]],
) -> NecessaryExplanation:
    """The explanation of a row.

    Args:
        found: what was found, with the numbers of columns.
        common: fields that all explanations have.
        fitted: the training rows, and the model's labels of them.
        repeats: whether the model repeats its answers.
        shown: labels as users know them.
    """
    case, result, miss = found.case, found.found.result, found.found.nearest_miss
    examples = found.found.examples.followed_by(miss, hit=True)
    values = case.sampler.values(torch.from_numpy(examples.codes)) if len(examples.labels) else None
    rows = np.zeros((0, len(case.row))) if values is None else values.double().cpu().numpy()
    labels, n = shown(examples.labels), len(examples.labels) - (miss is not None)
    encoded_miss = None
    if miss is not None and values is not None:
        changed = case.sampler.changed(values[-1:])[0].nonzero().flatten().tolist()
        encoded_miss = EncodedMiss(rows[-1], labels[-1:].tolist()[0], tuple(changed))
    known = repeats and not case.fixed
    numbers = fitted.replacements().numbers
    effects = found.found.effects
    others = [FoundAnchor.of(other, names_of(fitted.schema, case.row, other.anchor)) for other in result.others]
    return NecessaryExplanation(
        **common | {"effects": None if effects is None else case.sampler.of_parts(effects)},
        names=names_of(fitted.schema, case.row, result.anchor),
        fixed=case.fixed,
        excluded=case.excluded,
        rule=_rule(fitted.schema, case.row, result.anchor),
        instance=case.row.astype(np.float64),
        sampling="interventional",
        training_path=result.path,
        others=tuple(others),
        encoded_examples=EncodedExamples(rows[:n], labels[:n], examples.hits[:n]),
        encoded_miss=encoded_miss,
        all_replaced=fitted.labelled().share_of_others(found.found.label, numbers) if known else None,
        predict=fitted.model.labels_of_table,
    )


def names_of(schema: TableSchema, row: Float[np.ndarray, " columns"], columns: Anchor) -> tuple[str, ...]:
    """Columns with the values that a row has there, in words."""
    return tuple(stated(schema.columns[k], float(row[k])) for k in columns)


def _rule(schema: TableSchema, row: Float[np.ndarray, " columns"], columns: Anchor) -> Rule:
    """That rows have the same values in these columns."""
    missing = np.isnan(row)
    conditions = (
        Predicate.on(schema, k, "is missing") if missing[k] else Predicate.on(schema, k, "==", float(row[k]))
        for k in columns
    )
    return Rule(tuple(conditions), schema)
