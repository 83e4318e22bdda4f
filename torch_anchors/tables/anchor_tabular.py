"""AnchorTabular: which conditions on the columns of a table's row keep the model's answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_anchors._checks import flag, is_whole, one_of, said
from torch_anchors._locks import PerThread
from torch_anchors._shapes import Shaped
from torch_anchors.engine.digest import digest_of
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.predictor import Predictor, require_in_range
from torch_anchors.engine.runner import Finished
from torch_anchors.errors import AnchorsWarning, ArgumentError, NotFittedError
from torch_anchors.explainer import Explainer
from torch_anchors.explanations import Explanations
from torch_anchors.reference.tabular_sampler import TabularSampler
from torch_anchors.search.protocol import BY_SAMPLING, NECESSARY, SearchSpace
from torch_anchors.seeds import stream
from torch_anchors.settings import ExplainSettings, OneQuestion, drop_unknown, takes
from torch_anchors.tables.cases import RowCase, RowSpaces
from torch_anchors.tables.discretizer import checked_percentiles
from torch_anchors.tables.explained_rules import explained_rules
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.tables.fitted import FittedTable
from torch_anchors.tables.frame_rows import RowsAs
from torch_anchors.tables.local import local
from torch_anchors.tables.necessary import ColumnsCase, NecessaryExplanation, columns_cases, necessary_explanation
from torch_anchors.tables.question import RowQuestion, RowsQuestion
from torch_anchors.tables.rule import Rule
from torch_anchors.tables.sampler import SAMPLINGS, RowSampler
from torch_anchors.tables.schema import TableSchema
from torch_anchors.tables.training import TrainingRows
from torch_anchors.targets.target import ARGMAX, Comparison

TableCase = RowCase | ColumnsCase
"""A row made ready, of which a rule is wanted, or the columns that are necessary."""

FIRST_MAX_ROWS = 8192
"""Rows of the first batches when `max_rows` is "auto"; they grow while larger ones are faster. Rows of a table are
small, and what is done around a forward pass is more than the pass of a few of them."""


class AnchorTabular(Explainer[TableCase, TabularExplanation]):
    """Explains a classifier of table rows: conditions on a row's columns that keep its answer.

    Ribeiro, Singh and Guestrin, "Anchors: High-Precision Model-Agnostic Explanations" (AAAI 2018). A condition is
    "this category", or "at most" or "above" a cut point of a numeric column; where a value is missing (NaN, None), it
    is that: "Age is missing". The model gets NaN for it, as the code of a missing category, too, or 0s in one-hot
    columns. An anchor's precision is the share of rows with the explained label among rows on which the anchor holds,
    and `sampling` says which rows these are:

    - "interventional" (the reference's): a random training row whose values in the anchor's columns are replaced by
      those of a training row on which the anchor holds. The other columns are independent of the anchor, so the
      precision is what the conditions do *by themselves*, even to rows that look like no real row. Such rows are
      drawn and sent to the model; the chance that a returned anchor's precision is below `threshold` is at most
      `delta`.
    - "conditional": a random training row on which the anchor holds. What else goes along with the conditions in the
      data goes along here, so rules are shorter and cover more, and hold for rows like those trained on. The model
      labels all training rows once; then precision is an exact count, and no explanation calls the model.

    Args:
        predictor: an ``nn.Module``, which gets float rows (N, features) on its device, in eval and inference mode, or
            a callable; see `Predictor`. A callable gets arrays (N, features), or tensors where `train_data` is a
            tensor, unless `dtype` says which.
        feature_names: names of the features; None to take a DataFrame's, or x0, x1, ... for an array.
        categorical_names: for the number (or name) of each categorical feature, the names of its categories, in the
            order of their codes. DataFrames tell by themselves which columns hold categories.
        dtype: type of the values that the predictor gets: a torch dtype, then always in tensors, or a NumPy type, then
            always in arrays. None for float32 in either, as above.
        ohe: whether categories are one-hot encoded in arrays and for the predictor. `feature_names` and
            `categorical_names` count features all the same, each one-hot block as one.
        seed: same seed, same explanation. None draws one from the system when the explainer is made.
        device: where rows are made; None for the module's device, or the CPU.
        sampling: "interventional" or "conditional", as above.
        rows_as: what a callable gets rows as: "array", "tensor", or "dataframe", which has the columns, categories
            and types of `train_data`, and gaps where values are missing. None, where `dtype` and `ohe` say nothing,
            takes "dataframe" if `train_data` is a DataFrame of pandas with text or categories, and the callable is a
            method of an estimator that was fitted on such columns (``feature_names_in_``, CatBoost's
            ``feature_names_``) and takes a row of it, as `fit` tries; otherwise an array or a tensor, as above.
        class_names: what the classes are called, a name for each or by their numbers: in words, pictures and files.
        max_rows: rows of a forward pass; "auto" finds the fastest size during the first batches.

    Raises:
        ArgumentError: an argument cannot be used; the message says which, and what to do.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(1000, 3))
        >>> explainer = AnchorTabular(lambda x: (x[:, 0] > 0).long(), ["age", "pay", "rent"], seed=0).fit(rows)
        >>> explainer.explain([1.5, 0.0, 0.0]).anchor
        ['age > 0.552']
    """

    unit = "row"
    together = 256
    answers_first = True
    first_max_rows = FIRST_MAX_ROWS

    def __init__(
        self,
        predictor: nn.Module | Callable[[Any], Any],
        feature_names: Sequence[Any] | None = None,
        categorical_names: Mapping[Any, Sequence[Any]] | None = None,
        dtype: torch.dtype | type | np.dtype | None = None,
        ohe: bool = False,
        seed: int | None = None,
        *,
        device: torch.device | str | None = None,
        sampling: str = "interventional",
        rows_as: str | None = None,
        class_names: Sequence[str] | Mapping[int, str] | None = None,
        max_rows: int | str = "auto",
    ) -> None:
        one_of("sampling", sampling, SAMPLINGS)
        flag("ohe", ohe)
        self._rows_as = RowsAs.checked(rows_as, predictor, dtype, ohe)
        self.feature_names = feature_names
        self.categorical_names = categorical_names
        self.ohe = ohe
        self.sampling = sampling
        self._table: FittedTable | None = None
        self._latest = PerThread()
        super().__init__(
            predictor,
            wrap=partial(
                Predictor, dtype=self._rows_as.dtype, device=device, check_repeats=True, class_names=class_names
            ),
            max_rows=max_rows,
            seed=seed,
            params={"ohe": ohe, "sampling": sampling},
        )

    def reset_predictor(self, predictor: nn.Module | Callable[[Any], Any]) -> None:
        """Explains `predictor` from now on, with all other settings and the training rows as they are."""
        super().reset_predictor(predictor)
        if self._table is not None:
            self._predictor = self._table.given.to(self._predictor)
            self._table = self._table.of(self._predictor)
            self._latest = PerThread()

    def asking(self, predictor: Predictor) -> AnchorTabular:
        """As `Explainer.asking`; the training rows are the same, and what the model says of them is asked anew."""
        other = cast(AnchorTabular, super().asking(predictor))
        other._table = None if self._table is None else self._table.of(predictor)
        return other

    def fit(
        self,
        train_data: Any,
        disc_perc: Sequence[float | int] = (25, 50, 75),
        *,
        unlabelled: Any = None,
        **unknown: Any,
    ) -> AnchorTabular:
        """This explainer, with the rows that perturbations are made of.

        Args:
            train_data: rows like those that the model was trained on: a DataFrame (pandas or Polars), an array or a
                tensor (rows, features), an Arrow table, a reference to one of these in Ray's object store, or a Ray
                Data set; categories as they are, as codes, or one-hot if `ohe`.
            disc_perc: percentiles, in [0, 100], at which numeric columns are cut.
            unlabelled: more rows of the same kind, of which no true label is known or needed. They join the training
                rows in all else but the columns' categories, and rules that are counted are certified the sooner for
                them. A model that overfits answers the rows it was trained on better than others; what is counted on
                them is then too good, and these rows only dilute that. Fit on rows that it was not trained on instead.
            unknown: what other implementations take besides; a warning names it, and it is ignored.

        Raises:
            ArgumentError: rows that cannot be used, with infinities, or with missing values where `dtype` cannot hold
                them; the message names the columns. The explainer is then as it was.
        """
        drop_unknown(unknown, "fit", ["train_data", "disc_perc", "unlabelled"])
        percentiles = checked_percentiles(disc_perc)
        train_data = local(train_data)
        schema = TableSchema.infer(train_data, self.feature_names, self.categorical_names, self.ohe)
        rows = schema.encode(train_data, argument="train_data")
        if unlabelled is not None:
            rows = np.concatenate([rows, schema.encode(unlabelled, argument="unlabelled")])
        schema.check_known(rows)
        given = self._rows_as.like(train_data, schema, rows)
        predictor = given.to(self._predictor)
        require_in_range(torch.from_numpy(rows), predictor.row_dtype, "train_data")
        device = predictor.device
        # Cut points and rows are compared exactly in float64, which Apple's GPUs lack.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        training = TrainingRows.fit(rows, schema.n_categories, percentiles, device=device, dtype=dtype)
        if not training.discretizer.n_predicates:
            warnings.warn(
                "No column of train_data offers a condition: none has two different values and, if it holds numbers, a "
                "cut point between them. Every rule is empty. Give disc_perc percentiles, or more rows.",
                AnchorsWarning,
                stacklevel=2,
            )
        self._predictor = predictor
        self._table = FittedTable(schema, training, predictor, given=given, max_rows=self.max_rows, seed=self._seed)
        self._latest, self._about = PerThread(), {}
        self.meta["params"]["disc_perc"] = percentiles
        return self

    @takes(RowQuestion)
    def explain(self, question: RowQuestion) -> TabularExplanation:
        """The explanation of one row.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: an argument cannot be used.
            PredictorCallError, PredictorReturnTypeError: the predictor failed, or returned no labels.
        """
        rows = self._fitted.schema.encode(question.X)
        if len(rows) != 1:
            raise ArgumentError(f"X must be one row, got {len(rows)}. Explain several with explain_batch.")
        explanation = self.explain_one(rows[0], question)
        if question.target == ARGMAX:
            self._latest.value = rows[0], self.label_of(explanation.label), question.n_covered_ex
        return explanation

    @takes(RowsQuestion)
    def explain_batch(self, question: RowsQuestion) -> Explanations[TabularExplanation]:
        """The explanations of all rows of a table, in their order; each is what `explain` gives for the row alone.

        The perturbed rows of all of them share the forward passes, and rules are counted for many of them together.
        If the work is interrupted, by an error or from the keyboard, all finished explanations are the exception's
        ``finished``, by the row's number.
        """
        return self.explain_many(question.rows, question)

    @takes(RowsQuestion)
    def explain_iter(self, question: RowsQuestion) -> Iterator[TabularExplanation]:
        """The explanations of all rows, in their order, each as soon as it is ready, in bounded memory."""
        return self.explain_each(question.rows, question)

    @property
    def schema(self) -> TableSchema:
        """The columns of the table, as `fit` found them.

        Raises:
            NotFittedError: `fit` was not called.
        """
        return self._fitted.schema

    def predict(self, X: Any) -> Shaped[np.ndarray, " rows"]:
        """The model's labels of the rows of a table, as explanations have them: numbers, or class names.

        Args:
            X: a table like the training rows. A row for which the model returns NaN has the smallest of all int64,
                which is no label and so agrees with none.

        Raises:
            NotFittedError: `fit` was not called, so that the columns are not known.
            ArgumentError: other columns than the training rows', or infinities.
            PredictorCallError, PredictorReturnTypeError: the predictor failed, or returned no labels.
        """
        return self._fitted.model.labels_of_table(X)

    @property
    def samplers(self) -> list[TabularSampler]:
        """The reference's sampler, in a list, to be used step by step on the same training rows; [] before `fit`.

        It is set up for the row that `explain` explained latest in this thread, if it did: its lookups, the explained
        label and `n_covered_ex`.
        """
        if self._table is None:
            return []
        disc_perc = self.meta["params"]["disc_perc"]
        sampler = TabularSampler.of_table(
            self._table, self._predictor, disc_perc, seed=self._seed, sampling=self.sampling
        )
        if self._latest.value is not None:
            row, label, n_covered_ex = self._latest.value
            sampler.build_lookups(row)
            sampler.instance_label = label
            sampler.set_n_covered(n_covered_ex)
        return [sampler]

    def add_names_to_exp(self, explanation: dict[str, Any]) -> None:
        """Adds to a dictionary like `TabularExplanation.raw` its entries ``names`` and ``feature``, from left to right.

        Args:
            explanation: with the entries ``predicates``, their ids, and ``instance``, the row that they are of, as
                arrays have it.
        """
        schema, training = self._fitted.schema, self._fitted.training
        if not isinstance(explanation, dict) or not {"predicates", "instance"} <= set(explanation):
            raise ArgumentError(
                f"explanation must be a dictionary with the entries predicates and instance, got {said(explanation)}."
            )
        instance = schema.encode(explanation["instance"], argument="explanation")
        sampler, anchor = RowSampler(training, instance), tuple(explanation["predicates"])
        if not all(is_whole(p) and p in sampler.ids(0) for p in anchor):
            raise ArgumentError(
                f"explanation must have ids of predicates, 0 to {sampler.n_predicates - 1}, as its entry predicates, "
                f"got {said(anchor)}."
            )
        bins = sampler.bins(0, anchor)
        rule = Rule.from_bins(schema, training.discretizer, bins, instance[0])
        explanation["names"] = rule.conditions
        explanation["feature"] = sorted({predicate.column for predicate in rule.predicates})

    # ------------------------------------------------------------------------------------------------- the wing

    def instances(self, given: Any) -> tuple[Iterable[NDArray[np.float64]], int | None]:
        """The encoded rows of a table, or of the tables of an iterator, and how many they are if that is known."""
        schema = self._fitted.schema
        if isinstance(given, Iterator):
            return (row for table in given for row in schema.encode(table, argument="rows")), None
        rows = schema.encode(given, argument="rows")
        return rows, len(rows)

    def cases(self, instances: Sequence[Any], question: RowQuestion | RowsQuestion) -> list[TableCase]:
        """The rows, ready to be explained. The training rows are labelled first, so that names are known."""
        self._fitted.ask(progress=question.progress)
        fixed, excluded = question.columns(self._fitted.schema)
        schema, training, as_array = self._fitted.schema, self._fitted.training, self._fitted.given.as_array
        rows = np.stack(instances)
        require_in_range(torch.from_numpy(rows), self._predictor.row_dtype, "X")
        if question.question == NECESSARY:
            self._check_replaces()
            return [*columns_cases(self._fitted, self._predictor, rows, fixed, excluded, seed=self._seed)]
        sampler = RowSampler(
            training,
            rows,
            sampling=self.sampling,
            to_model=schema.encoder(self._predictor.device),
            dtype=self._predictor.row_dtype,
            fixed=fixed,
        )
        streams = [stream(self._seed, row.tobytes()) for row in sampler.instances]
        return [
            RowCase(sampler=sampler, rng=rng, instance=i, as_array=as_array, excluded=excluded)
            for i, rng in enumerate(streams)
        ]

    def _check_replaces(self) -> None:
        if self.sampling == "conditional":
            raise ArgumentError(
                "question must be 'sufficient' with sampling='conditional', which takes training rows as they are, "
                "while 'necessary' replaces columns. Make the explainer with sampling='interventional'."
            )

    def _explained(
        self, instances: Iterable[Any], question: OneQuestion, *, total: int | None, n_workers: int
    ) -> Iterator[tuple[int, TabularExplanation]]:
        """As of every explainer. The training rows tell which labels there are, and asking for them may take long."""
        if question.label is not None:
            self._fitted.ask(progress=question.progress)
        return super()._explained(instances, question, total=total, n_workers=n_workers)

    def label_of(self, label: int | str) -> int:
        """The label that a user means by its number or its name; the training rows show which names there are."""
        self._fitted.ask()
        code = super().label_of(label)
        training = self._fitted.labelled()
        if isinstance(label, str) and training.class_of(np.array([code])).item() == training.n_classes - 1:
            names = ", ".join(self._predictor.outputs.names[:10])
            raise ArgumentError(f"label must be a class that the training rows have, such as {names}, got {label!r}.")
        return code

    def spaces(
        self, cases: Sequence[TableCase], labels: Sequence[int | None], settings: ExplainSettings
    ) -> Iterable[SearchSpace]:
        """The rules of each row, with what the training rows and a surrogate say of them; or its columns."""
        if isinstance(cases[0], ColumnsCase):
            return [case.sampler.space() for case in cast(Sequence[ColumnsCase], cases)]
        return self._spaces_of_rules(cast(Sequence[RowCase], cases), labels, settings)

    def _spaces_of_rules(
        self, cases: Sequence[RowCase], labels: Sequence[int | None], settings: ExplainSettings
    ) -> Iterator[SearchSpace]:
        if not isinstance(self._predictor.target, Comparison):
            return self._spaces(self._fitted, cases, labels, settings)
        alone = [replace(case, sampler=case.sampler.alone(case.instance), instance=0) for case in cases]
        return (
            next(self._spaces(self._fitted.about(case.explained), [case], [label], settings))
            for case, label in zip(alone, labels, strict=True)
        )

    def _spaces(
        self, fitted: FittedTable, cases: Sequence[RowCase], labels: Sequence[int | None], settings: ExplainSettings
    ) -> Iterator[SearchSpace]:
        """The rules of rows of one sampler, whose labels the table has."""
        sampler = cases[0].sampler
        of_instance = np.full(len(sampler.instances), INVALID)  # of a row on which the model failed
        of_instance[[case.instance for case in cases]] = labels
        config = settings.config(self._predictor.device).share(settings.n_anchors)
        by_default = settings.method not in BY_SAMPLING
        proposer = fitted.proposer() if by_default and self.sampling == "interventional" else None
        split = fitted.split() if by_default and self.sampling == "conditional" else None
        repeats = self._predictor.repeats
        closed = cases[0].excluded
        spaces = RowSpaces(fitted.labelled(), sampler, of_instance, config, proposer, split, repeats, closed)
        return (spaces.space(case.instance) for case in cases)

    def explanations(
        self, finished: Sequence[Finished[TableCase]], settings: ExplainSettings
    ) -> Iterable[TabularExplanation]:
        """What was found for each row."""
        if finished and isinstance(finished[0].case, ColumnsCase):
            return [self._necessary(one, settings) for one in cast(Sequence[Finished[ColumnsCase]], finished)]
        return explained_rules(
            cast(Sequence[Finished[RowCase]], finished),
            self._fitted,
            settings,
            common=partial(self.common, settings=settings),
            shown=self._predictor.outputs.all_shown,
        )

    def _necessary(self, one: Finished[ColumnsCase], settings: ExplainSettings) -> NecessaryExplanation:
        one = one.renumbered(one.case.sampler.numbers)
        return necessary_explanation(
            one,
            self.common(one, settings),
            self._fitted.about(one.case.explained),
            repeats=self._predictor.repeats,
            shown=self._predictor.outputs.all_shown,
        )

    def common(self, found: Finished[TableCase], settings: ExplainSettings) -> dict[str, Any]:
        """The fields that explanations of all kinds have; `meta` says how many training rows the model labelled."""
        fields = super().common(found, settings)
        return {**fields, "meta": {**fields["meta"], "n_labelled": self._fitted.n_rows}}

    def hint(self, case: TableCase) -> str:
        """The columns in which a row has missing values."""
        row = case.sampler.instances[case.instance] if isinstance(case, RowCase) else case.row
        names = self._fitted.schema.names
        gone = [names[i] for i in np.flatnonzero(np.isnan(row))]
        remedy = "fill them in before fit, or explain a pipeline that does"
        return f" It has missing values, which the model gets as NaN, in the columns {gone}: {remedy}." if gone else ""

    def rows_of(self, instances: Any) -> Tensor:
        """The rows of a table as the model reads them, (N, features)."""
        codes = self._fitted.schema.encode(instances)
        return self._fitted.model.render(torch.as_tensor(codes, device=self._predictor.device))

    def row_of(self, explanation: TabularExplanation) -> Tensor:
        """The explained row as the model reads it, (1, features)."""
        return self._fitted.model.render(torch.as_tensor(explanation.instance, device=self._predictor.device)[None])

    def digests(self) -> dict[str, str]:
        """As of every explainer, with the columns, the training rows and the model's labels of these.

        So models that show nothing of their insides are told apart, too.
        """
        fitted = self._fitted
        return {
            **super().digests(),
            "columns": digest_of(fitted.schema),
            "training rows": digest_of(fitted.training.values, *fitted.training.discretizer.cuts),
            "labels of the training rows": fitted.digest,
        }

    @property
    def _fitted(self) -> FittedTable:
        if self._table is None:
            raise NotFittedError("Call fit with the training rows before explaining.")
        return self._table
