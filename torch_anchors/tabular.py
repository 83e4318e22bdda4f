"""AnchorTabular: which conditions on the columns of a table's row keep the model's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from torch_anchors import batching
from torch_anchors.engine.batch_size import BatchSize
from torch_anchors.engine.job import Job
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.proposals import Proposer
from torch_anchors.engine.runner import Runner
from torch_anchors.errors import ArgumentError, NotFittedError
from torch_anchors.perturb.tabular import SAMPLINGS, TabularPerturbations
from torch_anchors.perturb.tabular_sampler import TabularSampler
from torch_anchors.perturb.training import TrainingRows
from torch_anchors.rule import Rule
from torch_anchors.settings import ExplainSettings
from torch_anchors.table import TableSchema
from torch_anchors.tabular_batch import Model, RowBatch, row_dtype
from torch_anchors.tabular_explanation import TabularExplanation

ROWS_TOGETHER = 256
"""Rows whose labels and candidate anchors are found together, ahead of their searches."""

FIRST_BATCH = 8192
"""Rows of the first batches when `max_rows` is "auto"; they grow while larger ones are faster."""


class AnchorTabular:
    """Explains a classifier of table rows: conditions on a row's columns that keep its answer.

    Ribeiro, Singh and Guestrin, "Anchors: High-Precision Model-Agnostic Explanations" (AAAI 2018). A condition is
    "this category", or "at most" or "above" a cut point of a numeric column. An anchor's precision is the share of
    rows with the explained label among rows on which the anchor holds, and `sampling` says which rows these are:

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
            a callable; see `Predictor`. A callable gets tensors too, or arrays if `dtype` is a NumPy type.
        feature_names: names of the features; None to take a DataFrame's, or x0, x1, ... for an array.
        categorical_names: for the number (or name) of each categorical feature, the names of its categories, in the
            order of their codes. DataFrames tell by themselves which columns hold categories.
        dtype: type of the values that the predictor gets, a torch dtype or a NumPy type.
        ohe: whether categories are one-hot encoded in arrays and for the predictor. `feature_names` and
            `categorical_names` count features all the same, each one-hot block as one.
        seed: same seed, same explanation. None draws one from the system when the explainer is made.
        device: where rows are made; None for the module's device, or the CPU.
        sampling: "interventional" or "conditional", as above.
        max_rows: rows of a forward pass; "auto" finds the fastest size during the first batches.

    Raises:
        ArgumentError: an argument cannot be used; the message says which, and what to do.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(1000, 3))
        >>> explainer = AnchorTabular(lambda x: (x[:, 0] > 0).long(), ["age", "pay", "rent"], seed=0).fit(rows)
        >>> explainer.explain([1.5, 0.0, 0.0]).anchor
        ['age > 0.552']
    """

    def __init__(
        self,
        predictor: nn.Module | Callable[[Any], Any],
        feature_names: Sequence[Any] | None = None,
        categorical_names: Mapping[Any, Sequence[Any]] | None = None,
        dtype: torch.dtype | type[np.generic] | np.dtype = torch.float32,
        ohe: bool = False,
        seed: int | None = None,
        *,
        device: torch.device | str | None = None,
        sampling: str = "interventional",
        max_rows: int | str = "auto",
    ) -> None:
        if sampling not in SAMPLINGS:
            raise ArgumentError(f"sampling must be one of {SAMPLINGS}, got {sampling!r}.")
        self.feature_names = feature_names
        self.categorical_names = categorical_names
        self.ohe = ohe
        self.sampling = sampling
        self.max_rows = max_rows
        self.samplers: list[TabularSampler] = []
        self.instance_label: int | None = None
        self._seed = batching.checked_seed(seed)
        self._schema: TableSchema | None = None
        self._training: TrainingRows | None = None
        self._wrap = partial(Predictor, dtype=dtype, device=device)
        self.reset_predictor(predictor)
        self.meta: dict[str, Any] = {
            "name": type(self).__name__,
            "type": ["blackbox"],
            "explanations": ["local"],
            "params": {"seed": seed, "ohe": ohe, "sampling": sampling, "max_rows": max_rows},
            "version": batching.version(),
        }

    @property
    def predictor(self) -> nn.Module | Callable[[Any], Any]:
        """The model that is explained, as it was given."""
        return self._predictor.model

    def reset_predictor(self, predictor: nn.Module | Callable[[Any], Any]) -> None:
        """Explains `predictor` from now on, with all other settings and the training rows as they are."""
        self._predictor = self._wrap(predictor)
        # Rows of a table are small, and what is done around a forward pass is more than the pass of a few of them.
        first = FIRST_BATCH if self.max_rows == "auto" else 0
        self._batch_size = BatchSize(self.max_rows, n=first, tuning=first > 0)
        self._model: Model | None = None
        self._proposer: Proposer | None = None
        if self._training is not None:
            self._training = self._training.to(self._predictor.device)
            self._make_sampler()

    def fit(self, train_data: Any, disc_perc: Sequence[float | int] = (25, 50, 75)) -> AnchorTabular:
        """This explainer, with the rows that perturbations are made of.

        Args:
            train_data: rows like those that the model was trained on: a DataFrame (pandas or Polars), an array or a
                tensor (rows, features); categories as they are, as codes, or one-hot if `ohe`.
            disc_perc: percentiles, in [0, 100], at which numeric columns are cut.

        Raises:
            ArgumentError: rows that cannot be used, missing values among them; the message names the columns.
        """
        self._schema = TableSchema.infer(train_data, self.feature_names, self.categorical_names, self.ohe)
        rows = self._schema.encode(train_data, argument="train_data")
        self._schema.check_known(rows)
        device = self._predictor.device
        # Cut points and rows are compared exactly in float64, which Apple's GPUs lack.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._training = TrainingRows.fit(rows, self._schema.n_categories, tuple(disc_perc), device=device, dtype=dtype)
        self._model = self._proposer = None
        self.meta["params"]["disc_perc"] = tuple(disc_perc)
        self._make_sampler()
        return self

    def explain(
        self,
        X: Any,
        threshold: float = 0.95,
        delta: float = 0.1,
        tau: float = 0.15,
        batch_size: int = 100,
        coverage_samples: int = 10000,
        beam_size: int = 1,
        stop_on_first: bool = False,
        max_anchor_size: int | None = None,
        min_samples_start: int = 100,
        n_covered_ex: int = 10,
        binary_cache_size: int = 10000,
        cache_margin: int = 1000,
        verbose: bool = False,
        verbose_every: int = 1,
        *,
        method: str = "auto",
        label: int | str | None = None,
        max_rows_total: int | None = None,
        progress: bool = False,
    ) -> TabularExplanation:
        """The explanation of one row.

        Args:
            X: the row: one-dimensional, or a table of one row, like the training rows.
            threshold: the precision that the anchor must reach, in (0, 1].
            max_anchor_size: most predicates in the anchor; None for no bound, or 3 for ``method="exact"``.
            method: "auto" looks, with interventional sampling, among anchors that a surrogate of the model proposes,
                and takes "exact" with conditional sampling. "exact" counts all conjunctions on the training rows and
                returns the one of largest coverage that holds; it needs conditional sampling. "beam" is the paper's
                search, for either sampling, and the one that `tau`, `beam_size` and `min_samples_start` are about.
            progress: show a progress bar.

        The other parameters are those of `ExplainSettings`, where they are documented.

        Raises:
            NotFittedError: `fit` was not called.
            ArgumentError: an argument cannot be used.
            PredictorCallError, PredictorReturnTypeError: the predictor failed, or returned no labels.
        """
        settings = ExplainSettings(
            threshold=threshold,
            delta=delta,
            tau=tau,
            batch_size=batch_size,
            coverage_samples=coverage_samples,
            beam_size=beam_size,
            stop_on_first=stop_on_first,
            max_anchor_size=max_anchor_size,
            min_samples_start=min_samples_start,
            n_covered_ex=n_covered_ex,
            binary_cache_size=binary_cache_size,
            cache_margin=cache_margin,
            verbose=verbose,
            verbose_every=verbose_every,
            method=method,
            label=label,
            max_rows_total=max_rows_total,
        )
        rows = self._fitted()[0].encode(X)
        if len(rows) != 1:
            raise ArgumentError(f"X must be one row, got {len(rows)}. Explain several with explain_batch.")
        (explanation,) = batching.collected(self._explained(rows, settings, progress))
        self.instance_label = explanation.label
        return explanation

    def explain_batch(self, rows: Any, *, progress: bool = False, **settings: Any) -> list[TabularExplanation]:
        """The explanations of all rows of a table, in their order; each is what `explain` gives for the row alone.

        The perturbed rows of all of them share the forward passes, and rules are counted for many of them together.
        If the work is interrupted, the explanations finished so far are the exception's ``finished``.

        Args:
            rows: a table like the training rows.
            progress: show a progress bar.
            **settings: any other parameter of `explain`, by name.
        """
        encoded = self._fitted()[0].encode(rows, argument="rows")
        return batching.collected(self._explained(encoded, ExplainSettings.of(settings), progress))

    def add_names_to_exp(self, explanation: dict[str, Any]) -> None:
        """Adds to a dictionary like `TabularExplanation.raw` the conditions in words, as its entry ``names``.

        Args:
            explanation: with the entries ``feature``, ids of predicates, and ``instance``, the row that they are of, as
                numbers and category codes.
        """
        schema, training = self._fitted()
        instance = np.asarray(explanation["instance"], dtype=np.float64).reshape(1, -1)
        bins = TabularPerturbations(training, instance).bins(0, tuple(explanation["feature"]))
        explanation["names"] = Rule.from_bins(schema, training.discretizer, bins, instance[0]).conditions

    # -------------------------------------------------------------------------------------------------- the work

    def _explained(
        self, rows: NDArray[np.float64], settings: ExplainSettings, progress: bool
    ) -> Iterator[TabularExplanation]:
        counts = settings.method == "exact" or (settings.method == "auto" and self.sampling == "conditional")
        if counts and self.sampling != "conditional":
            raise ArgumentError(
                'method must be "auto" or "beam" with interventional sampling, whose precision is no count of training '
                'rows, got "exact". Make the explainer with sampling="conditional" to count.'
            )
        batches = (
            RowBatch(
                self._labelled(), self._perturbations(rows[first : first + ROWS_TOGETHER]), settings, self.meta, first
            )
            for first in range(0, len(rows), ROWS_TOGETHER)
        )
        if counts:
            return self._counted(batches, len(rows), settings, progress)
        proposer = None if settings.method == "beam" else self._proposals()
        jobs = (job for batch in batches for job in batch.jobs(proposer, self._seed))
        runner = Runner(self._predictor, self._batch_size)
        return batching.in_order(runner, jobs, _explanations, progress=progress, total=len(rows), unit="row")

    def _counted(
        self, batches: Iterator[RowBatch], total: int, settings: ExplainSettings, progress: bool
    ) -> Iterator[TabularExplanation]:
        with tqdm(total=total, unit=" rows", disable=not progress) as bar:
            for batch in batches:
                for explanation in batch.counted():
                    if settings.verbose:
                        batching.say(str(explanation))
                    bar.update()
                    yield explanation

    def _perturbations(self, rows: NDArray[np.float64]) -> TabularPerturbations:
        schema, training = self._fitted()
        return TabularPerturbations(
            training,
            rows,
            sampling=self.sampling,
            to_model=schema.encoder(self._predictor.device),
            dtype=row_dtype(self._predictor),
        )

    def _labelled(self) -> Model:
        """The model with its labels of the training rows, which are predicted once."""
        if self._model is None:
            self._model = Model.of(self._predictor, *self._fitted(), self.max_rows)
        return self._model

    def _proposals(self) -> Proposer:
        if self._proposer is None:
            self._proposer = self._labelled().table.proposer(batching.stream(self._seed, b"proposals"))
        return self._proposer

    def _fitted(self) -> tuple[TableSchema, TrainingRows]:
        if self._schema is None or self._training is None:
            raise NotFittedError("Call fit with the training rows before explaining.")
        return self._schema, self._training

    def _make_sampler(self) -> None:
        """The reference's sampler, ready to be used step by step, on the same training rows."""
        schema, training = self._fitted()
        categorical = {i: c.categories for i, c in enumerate(schema.columns) if c.categories is not None}
        sampler = TabularSampler(
            self._predictor,
            self.meta["params"]["disc_perc"],
            [i for i in range(len(schema.columns)) if i not in categorical],
            list(categorical),
            schema.names,
            categorical,
            seed=self._seed,
            sampling=self.sampling,
            to_model=schema.encoder(self._predictor.device),
            device=self._predictor.device,
            dtype=row_dtype(self._predictor),
        )
        self.samplers = [sampler.deferred_init(training)]


def _explanations(jobs: Sequence[Job]) -> Iterator[TabularExplanation]:
    """What finished jobs found; those of one batch of rows stand together."""
    for batch, own in groupby(jobs, key=lambda job: job.tag[1]):
        yield from batch.explanations(list(own))
