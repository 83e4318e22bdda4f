"""Perturbed rows for one instance of a table at a time, step by step; the batched draw with a hand on each part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_anchors._checks import MOST, is_whole, one_of, said, whole
from torch_anchors._devices import named_device, require_present
from torch_anchors._shapes import Float, Int
from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import ArgumentError, NotFittedError
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import Anchor, SampleRequest
from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.discretizer import checked_percentiles, within
from torch_anchors.tables.fitted import FittedTable
from torch_anchors.tables.local import local
from torch_anchors.tables.row_index import ENTROPY
from torch_anchors.tables.sampler import SAMPLINGS, RowSampler, uniform_between
from torch_anchors.tables.training import TrainingRows


class TabularSampler:
    """Draws rows from training data that agree with an instance in an anchor's features.

    `deferred_init` gives it the training rows and `build_lookups` the instance; then it can be called. It draws the
    same rows as the explainer does, by the same batched operation (`RowSampler`), and the methods that take
    part in it can be called by themselves. Rows are NumPy arrays of numbers and category codes.

    An *encoded feature* is a predicate of the instance: a cut point of a numeric column, which the instance is at or
    below or above, or a categorical column's category; where a value is missing (NaN), that it is.

    Args:
        predictor: a module, a function of arrays (n, features), or a `torch_anchors.Predictor`, whose own dtype says
            what it is given.
        disc_perc: percentiles at which numeric columns are cut.
        numerical_features: numbers of the numeric columns.
        categorical_features: numbers of the categorical columns.
        feature_names: names of all columns.
        feature_values: for each categorical column, its categories.
        n_covered_ex: how many examples of hits and of misses a call returns.
        seed: of the random stream; None for one that differs from run to run.
        sampling: the distribution; see `RowSampler`.
        to_model: turns drawn rows into what `predictor` reads.
        device: where rows are drawn.
        dtype: of the rows that `predictor` reads.

    Raises:
        ArgumentError: a column is not exactly one of numeric and categorical, or a categorical one has no values.
    """

    def __init__(
        self,
        predictor: Callable[[Any], Any],
        disc_perc: Sequence[float | int],
        numerical_features: Sequence[int],
        categorical_features: Sequence[int],
        feature_names: Sequence[str],
        feature_values: Mapping[int, Sequence[Any]],
        n_covered_ex: int = 10,
        seed: int | None = None,
        *,
        sampling: str = "interventional",
        to_model: Callable[[Tensor], Tensor] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        named = [c for given in (numerical_features, categorical_features) if np.ndim(given) == 1 for c in given]
        if not all(map(is_whole, named)) or sorted(named) != list(range(len(feature_names))):
            raise ArgumentError(
                f"numerical_features and categorical_features must name each of the {len(feature_names)} columns of "
                f"feature_names once, got {said(numerical_features)} and {said(categorical_features)}."
            )
        without = [c for c in categorical_features if c not in feature_values]
        if without:
            raise ArgumentError(f"feature_values must have the categories of the columns {without!r}, too.")
        self.predictor = predictor
        whole("n_covered_ex", n_covered_ex)
        whole("seed", seed, or_none=True)
        one_of("sampling", sampling, SAMPLINGS)
        require_present(named_device(device))
        self.disc_perc = checked_percentiles(disc_perc)
        self.numerical_features = list(numerical_features)
        self.categorical_features = list(categorical_features)
        self.feature_names = list(feature_names)
        self.feature_values = dict(feature_values)
        self.n_covered_ex = n_covered_ex
        self.instance_label: int | None = None
        self.cat_lookup: dict[int, Any] = {}
        self.ord_lookup: dict[int, set[int]] = {}
        self.enc2feat_idx: dict[int, int] = {}
        self._options: dict[str, Any] = {"sampling": sampling, "to_model": to_model, "dtype": dtype}
        self._device = device
        self._rng = np.random.default_rng(seed)
        self._training: TrainingRows | None = None
        self._draws: RowSampler | None = None

    @classmethod
    def of_table(
        cls, table: FittedTable, predictor: Predictor, disc_perc: Sequence[float | int], *, seed: int, sampling: str
    ) -> TabularSampler:
        """The sampler of an explainer's training rows."""
        columns = table.schema.columns
        categorical = {i: column.categories for i, column in enumerate(columns) if column.categories is not None}
        sampler = cls(
            predictor,
            disc_perc,
            [i for i in range(len(columns)) if i not in categorical],
            list(categorical),
            table.schema.names,
            categorical,
            seed=seed,
            sampling=sampling,
            to_model=table.schema.encoder(predictor.device),
            device=predictor.device,
            dtype=predictor.row_dtype,
        )
        return sampler.deferred_init(table.training)

    def deferred_init(self, train_data: Any, d_train_data: Any = None) -> TabularSampler:
        """This sampler, with the rows to draw from.

        Args:
            train_data: rows (n, columns) of numbers and category codes, a reference to them in Ray's object store, a
                Ray Data set of them, or `TrainingRows` fitted before.
            d_train_data: their bins, if at hand, in any of these ways; they are checked against those that `disc_perc`
                gives.

        Raises:
            ArgumentError: another number of columns, or other bins.
        """
        if not isinstance(train_data, TrainingRows):
            rows = self._checked(local(train_data), "train_data")
            n_categories = [
                len(self.feature_values[c]) if c in self.categorical_features else None for c in range(rows.shape[1])
            ]
            train_data = TrainingRows.fit(rows, n_categories, self.disc_perc, device=self._device)
        bins = None if d_train_data is None else np.asarray(local(d_train_data))
        if bins is not None and not np.array_equal(bins, train_data.binned.cpu().numpy()):
            raise ArgumentError(
                "d_train_data must be the bins that disc_perc gives for train_data, got others. Leave it out."
            )
        self._training = train_data
        return self

    def build_lookups(self, X: Any) -> list[dict[int, Any]]:
        """Makes `X` the instance, and tells what its encoded features stand for.

        Args:
            X: the instance (columns,), numbers and category codes.

        Returns:
            Three dictionaries keyed by encoded feature: its value in `X`, for categorical ones; the bins that satisfy
            it, for cut points of numeric columns; and the number of its column, for all.
        """
        rows = self._checked(X, "X")
        if len(rows) != 1:
            raise ArgumentError(f"X must be one row, got {len(rows)}.")
        self._draws = draws = RowSampler(self._fitted(), rows, **self._options)
        column, low, high = self._predicates().tolist()
        categorical = draws.training.discretizer.categorical
        self.enc2feat_idx = {p: column[p] for p in draws.ids(0)}
        self.cat_lookup = {p: rows[0, c] for p, c in self.enc2feat_idx.items() if categorical[c]}
        self.ord_lookup = {
            p: set(range(low[p], high[p] + 1)) for p, c in self.enc2feat_idx.items() if not categorical[c]
        }
        return [self.cat_lookup, self.ord_lookup, self.enc2feat_idx]

    def __call__(self, anchor: tuple[int, Anchor], num_samples: int, compute_labels: bool = True) -> list[Any]:
        """Rows on which an anchor holds, sorted into hits and misses.

        Args:
            anchor: the position of the anchor in a list of requests, and the anchor itself.
            num_samples: how many rows to draw.
            compute_labels: whether to predict them.

        Returns:
            ``[covered_true, covered_false, labels, data, coverage, position]``: up to `n_covered_ex` rows with the
            instance's label and with others, hits (n,) as 0 and 1, whether each encoded feature holds in each row
            (n, predicates) as 0 and 1, the anchor's coverage, and its position; or ``[data]`` alone without labels.
        """
        position, members = anchor
        samples, d_samples, coverage = self.perturbation(members, num_samples)
        column, low, high = torch.from_numpy(self._predicates())
        held = within(torch.from_numpy(d_samples).T[column], low, high) & (column >= 0)[:, None]
        data = held.T.numpy().astype(np.int64)
        if not compute_labels:
            return [data]
        labels = self.compare_labels(samples)
        covered_true, covered_false = (samples[labels == hit][: self.n_covered_ex] for hit in (1, 0))
        return [covered_true, covered_false, labels, data, coverage, position]

    def perturbation(
        self, anchor: Anchor, num_samples: int
    ) -> tuple[Float[np.ndarray, "rows columns"], Int[np.ndarray, "rows columns"], float]:
        """`num_samples` rows on which the anchor holds, their bins, and the anchor's coverage of the training rows."""
        draws = self._ready()
        given = anchor if isinstance(anchor, Iterable) else [anchor]
        if not all(is_whole(p) and p in draws.ids(0) for p in given):
            raise ArgumentError(f"anchor must have encoded features 0 to {draws.n_predicates - 1}, got {said(anchor)}.")
        anchor = tuple(sorted(set(given)))
        whole("num_samples", num_samples, most=MOST)
        (rows,) = draws.draw([Order(SampleRequest(anchor, num_samples), self._rng, 0)])
        coverage = int(draws.n_covered([0], [anchor])) / draws.training.index.n_rows
        return rows.cpu().numpy(), draws.training.discretizer.bin(rows).cpu().numpy(), coverage

    def get_features_index(
        self, anchor: Anchor
    ) -> tuple[dict[int, set[int]], dict[int, NDArray[np.int64]], list[tuple[int, str, Any]]]:
        """What an anchor allows in each of its columns by itself.

        Returns:
            The bins allowed in each numeric column; the numbers of the training rows that have an allowed value, for
            each column; and, where there are none, the column with "c" and the category to use, or with "o" and the
            bins to sample from.
        """
        draws = self._ready()
        conditions = draws.conditions([0], [tuple(sorted(set(anchor)))])
        starts, lengths = draws.training.index.spans(conditions)
        allowed_bins, allowed_rows, unknown = {}, {}, []
        for column, low, high, start, n in zip(*_first_line(conditions), starts[0], lengths[0], strict=True):
            categorical = draws.training.discretizer.categorical[column]
            if not categorical:
                allowed_bins[column] = set(range(low, high + 1))
            rows = draws.training.index.sorted_rows[column, start : start + n]
            allowed_rows[column] = rows.astype(np.int64)
            if n == 0:
                value = draws.instances[0, column] if categorical else allowed_bins[column]
                unknown.append((column, "c" if categorical else "o", value))
        return allowed_bins, allowed_rows, unknown

    def replace_features(
        self,
        samples: Float[np.ndarray, "rows columns"],
        allowed_rows: Mapping[int, Any],
        uniq_feat_ids: Sequence[int],
        partial_anchor_rows: Sequence[Any],
        nb_partial_anchors: Sequence[int] | NDArray[np.integer],
        num_samples: int,
    ) -> None:
        """Replaces, in `samples`, an anchor's columns by values that satisfy it.

        The longest partial anchor that any training row satisfies is replaced together, from one such row for each
        sample, and every other column by itself from the rows allowed for it. Where no row is allowed the column
        stays as it is, for `handle_unk_features`.

        Args:
            samples: rows to change in place.
            allowed_rows: numbers of the training rows allowed for each column.
            uniq_feat_ids: the anchor's columns.
            partial_anchor_rows: for j = 1, 2, ..., the rows that satisfy the anchor in its first j columns.
            nb_partial_anchors: how many rows that is.
            num_samples: the number of samples.
        """
        values = self._fitted().values
        lengths = [j + 1 for j, n in enumerate(nb_partial_anchors) if n > 0]
        n_joint = max(lengths, default=0)
        sources: dict[int, NDArray[np.int64]] = {}
        if n_joint:
            joint = self._rng.choice(_row_numbers(partial_anchor_rows[n_joint - 1]), num_samples)
            sources = dict.fromkeys(uniq_feat_ids[:n_joint], joint)
        for column in uniq_feat_ids[n_joint:]:
            rows = _row_numbers(allowed_rows[column])
            if len(rows):
                sources[column] = self._rng.choice(rows, num_samples)
        for column, row in sources.items():
            samples[:, column] = values[:, column].cpu().numpy()[row]

    def handle_unk_features(
        self,
        allowed_bins: Mapping[int, set[int]],
        num_samples: int,
        samples: Float[np.ndarray, "rows columns"],
        unk_feature_values: Sequence[tuple[int, str, Any]],
    ) -> None:
        """Replaces, in `samples`, the columns for whose condition there is no training row.

        A category or a missing value is set to the instance's; a number is drawn uniformly from the bins allowed.

        Args:
            allowed_bins: bins allowed in each numeric column.
            num_samples: the number of samples.
            samples: rows to change in place.
            unk_feature_values: as `get_features_index` returns them.
        """
        draws = self._ready()
        for column, kind, value in unk_feature_values:
            if kind == "c":
                samples[:, column] = value
                continue
            low, high = (np.array([end(allowed_bins[column])]) for end in (min, max))
            own = draws.instances[:, column]
            least, greatest = draws.training.discretizer.value_ranges(np.array([column]), low, high, own)
            entropy = torch.as_tensor(self._rng.integers(ENTROPY, size=num_samples))
            drawn = uniform_between(least.expand(num_samples), greatest.expand(num_samples), entropy)
            samples[:, column] = drawn.numpy()

    def compare_labels(self, samples: Float[np.ndarray, "rows columns"]) -> Int[np.ndarray, " rows"]:
        """1 for each row that has the instance's label, and 0 for each that has another."""
        if self.instance_label is None:
            self.set_instance_label(self._ready().instances[0])
        return (self._predict(samples) == self.instance_label).astype(np.int64)

    def set_instance_label(self, X: Any) -> None:
        """Takes the label of the row `X` (columns,) for the one to compare with."""
        self.instance_label = int(self._predict(self._checked(X, "X"))[0])

    def set_n_covered(self, n_covered: int) -> None:
        """Sets how many examples of hits and of misses a call returns."""
        whole("n_covered", n_covered)
        self.n_covered_ex = n_covered

    def _predict(self, samples: Float[np.ndarray, "rows columns"]) -> NDArray[Any]:
        draws = self._ready()
        rows = draws.render(torch.as_tensor(samples).to(draws.training.values))
        predictor, dtype = self.predictor, self._options["dtype"]
        if not isinstance(predictor, Predictor):
            in_arrays = not isinstance(predictor, nn.Module)
            dtype = torch.zeros(0, dtype=dtype).numpy().dtype if in_arrays else dtype
            predictor = Predictor(predictor, dtype=dtype, device=self._device)
        return predictor(rows).cpu().numpy()

    def _predicates(self) -> NDArray[np.int64]:
        """Column, lowest and highest bin (3, predicates) of the instance's predicates."""
        predicates = self._ready().predicates
        return torch.cat([predicates.column, predicates.low, predicates.high]).cpu().numpy()

    def _checked(self, rows: Any, argument: str) -> NDArray[np.float64]:
        try:
            rows = np.atleast_2d(np.asarray(rows, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{argument} must be numbers and category codes, got {said(rows)}.") from error
        if np.isinf(rows).any():
            raise ArgumentError(
                f"{argument} must be finite numbers and category codes, or NaN where they are missing, got infinity."
            )
        rows = np.where(np.isnan(rows), np.nan, rows)  # one NaN, of the many that there are
        if rows.ndim != 2 or rows.shape[1] != len(self.feature_names):
            raise ArgumentError(
                f"{argument} must have the {len(self.feature_names)} columns of feature_names, got shape {rows.shape}."
            )
        return rows

    def _fitted(self) -> TrainingRows:
        if self._training is None:
            raise NotFittedError("Call deferred_init with the training rows first.")
        return self._training

    def _ready(self) -> RowSampler:
        if self._draws is None:
            raise NotFittedError("Call build_lookups with the instance first.")
        return self._draws


def _first_line(conditions: Conditions) -> list[list[int]]:
    return [conditions.column[0].tolist(), conditions.low[0].tolist(), conditions.high[0].tolist()]


def _row_numbers(rows: Any) -> NDArray[np.int64]:
    return np.array(sorted(rows) if isinstance(rows, set | frozenset) else rows, dtype=np.int64)
