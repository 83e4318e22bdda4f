"""Ray Data: the inputs of a data set explained by actors, on one machine or many."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch_anchors._checks import is_number, is_whole, said, whole
from torch_anchors._extras import import_extra
from torch_anchors.datasets.evaluate import question_of, settings_of
from torch_anchors.datasets.fields import Row, table_of
from torch_anchors.datasets.items import IDS, INSTANCES, Items
from torch_anchors.datasets.reading import distinct, read_ahead
from torch_anchors.datasets.row_maker import RowMaker
from torch_anchors.datasets.sources import Source
from torch_anchors.datasets.table_rows import TableRows
from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.explainer import Explainer
from torch_anchors.tables.anchor_tabular import AnchorTabular
from torch_anchors.words import LabelNames

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

BATCH_SIZE = 32
"""Inputs that an actor is handed at once, unless the user says otherwise: what is explained again if it dies."""


def explain(
    dataset: ray.data.Dataset,
    make_explainer: Callable[[], Explainer[Any, Any]],
    *,
    ids: str | None = None,
    true_label: str | None = None,
    instances: str | None = None,
    transform: Callable[[Any], Any] | None = None,
    label_names: LabelNames = None,
    concurrency: int | tuple[int, int] = 1,
    num_cpus: float | int = 1,
    num_gpus: float | int = 0,
    batch_size: int = BATCH_SIZE,
    **settings: Any,
) -> ray.data.Dataset:
    """The explanations of a Ray Data set: a row for each input, with the columns that `evaluate` writes.

    Nothing is computed before the result is asked for, as always in Ray Data. Each explanation is what ``explain``
    gives for its input alone, however many actors there are. An input that cannot be read or explained is a row with
    the reason. An actor that dies is started again by Ray, and the inputs that it was at are explained again.

    Args:
        dataset: with a column of pictures (arrays, or the contents of files as bytes), or with the columns of a table.
        make_explainer: makes the explainer, once in each actor; so the model is loaded there, and not sent. The
            explainer must have a seed.
        ids: name of the column with what the inputs are called; None for ``id``, ``ids`` or ``path``.
        true_label: name of the column with the true label. None for the usual names beside pictures; for none of a
            table.
        instances: name of the column with the pictures, or with the rows of a table as vectors. None for the usual
            names of pictures, and for a table whose features are columns.
        transform: applied to each picture, such as a model's `fit`; None for nothing, and for tables.
        label_names: the name of each class.
        concurrency: how many actors there are, or (fewest, most).
        num_cpus: processors that Ray keeps for each actor; PyTorch has as many threads in it.
        num_gpus: GPUs that Ray keeps for each actor.
        batch_size: inputs that an actor is handed at once.
        **settings: parameters of the explainer's ``explain_batch``.

    Raises:
        ArgumentError: an argument cannot be used. What only the actors can see (the explainer, the settings and the
            columns) is the reason of Ray's error when the result is asked for.
        ImportError: Ray is not installed.

    Example:
        >>> photographs = ray.data.read_binary_files("photographs", include_paths=True)  # doctest: +SKIP
        >>> explain(photographs, make_explainer, concurrency=2).write_parquet("explained")  # doctest: +SKIP
    """
    ray_data = import_extra("ray.data", "ray")
    if not isinstance(dataset, ray_data.Dataset):
        raise ArgumentError(f"dataset must be a Data set of Ray, got {said(dataset)}; ray.data makes one of it.")
    if not callable(make_explainer):
        raise ArgumentError(
            f"make_explainer must be a function without parameters that makes one, got {said(make_explainer)}."
        )
    whole("batch_size", batch_size, least=1)
    for name, value in {"num_cpus": num_cpus, "num_gpus": num_gpus}.items():
        if not is_number(value) or value < 0:
            raise ArgumentError(f"{name} must be a number of at least 0, got {said(value)}.")
    fewest, most = _ends(concurrency)
    _warn_of_no_room(dataset, fewest * num_cpus)
    work = Work(make_explainer, Columns(ids, true_label, instances), transform, label_names, settings)
    return dataset.map_batches(
        Explaining,
        fn_constructor_args=(work,),
        batch_format="pyarrow",
        batch_size=batch_size,
        compute=ray_data.ActorPoolStrategy(min_size=fewest, max_size=most),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )


def _ends(concurrency: Any) -> tuple[int, int]:
    """The fewest and the most actors."""
    ends = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    if len(ends) != 2 or not all(is_whole(n) and n >= 1 for n in ends) or ends[0] > ends[1]:
        raise ArgumentError(
            f"concurrency must be a number of actors of at least 1, or (fewest, most), got {said(concurrency)}."
        )
    return int(ends[0]), int(ends[1])


def _warn_of_no_room(dataset: ray.data.Dataset, n_cpus: float | int) -> None:
    """Tells of actors that take all processors, so that none is left for what comes before them."""
    ray, ray_dataset = import_extra("ray", "ray"), import_extra("ray.data.dataset", "ray")
    total = ray.cluster_resources().get("CPU", 0)
    if 0 < total <= n_cpus and not isinstance(dataset, ray_dataset.MaterializedDataset):
        warnings.warn(
            f"The actors take all {total:g} processors that Ray has, and leave none for reading the data set; Ray may "
            "wait for ever. Have fewer of them (concurrency), or keep less of a processor for each (num_cpus=0.5).",
            AnchorsWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of the data set are called; see `explain`."""

    ids: str | None
    true_label: str | None
    instances: str | None

    def source(self, batch: pa.Table, label_names: LabelNames, *, is_table: bool) -> Source:
        """The inputs of some rows.

        Raises:
            ArgumentError: there is no such column.
        """
        ids = self._named("ids", self.ids, (*IDS, "path"), batch)
        if self.true_label is not None:
            self._named("true_label", self.true_label, (), batch)
        if is_table and self.instances is None:
            return TableRows(batch, ids, self.true_label, label_names)
        instance = self._named("instances", self.instances, INSTANCES, batch)
        names = (batch[ids].to_pylist(), self.true_label, label_names)
        return Items(batch.to_pylist(), *names, is_table=is_table, instance=instance)

    def _named(self, argument: str, given: str | None, usual: Sequence[str], batch: pa.Table) -> str:
        """The given name, or the first usual one that a column has."""
        names = [given] if given is not None else usual
        name = next((name for name in names if name in batch.column_names), None)
        if name is None:
            reason = "" if given is not None else f", as none is called {', '.join(usual)}"
            raise ArgumentError(
                f"{argument} must name a column{reason}; got {given!r}, and the data set has the columns "
                f"{', '.join(batch.column_names)}."
            )
        return name


@dataclass(frozen=True, slots=True)
class Work:
    """What an actor is told; see `explain`."""

    make_explainer: Callable[[], Explainer[Any, Any]]
    columns: Columns
    transform: Callable[[Any], Any] | None
    label_names: LabelNames
    settings: Mapping[str, Any]


class Explaining:
    """An actor: it makes the explainer when it starts, and explains what it is handed.

    Args:
        work: what to do.
    """

    def __init__(self, work: Work) -> None:
        explainer = work.make_explainer()
        _check(explainer, work)
        self._columns, self._is_table = work.columns, isinstance(explainer, AnchorTabular)
        self._rows: list[Row] = []
        question = question_of(explainer, dict(work.settings))
        about = {"seed": explainer.seed, "settings": json.dumps(settings_of(explainer, question))}
        self._maker = RowMaker(explainer, question, work.transform, work.label_names, about, self._rows.append)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The rows of some inputs, in their order."""
        self._rows.clear()
        source = self._columns.source(batch, self._maker.label_names, is_table=self._is_table)
        entries = list(distinct(source.entries()))
        for _ in self._maker.work(read_ahead(source, entries, self._maker.singled)):
            pass
        by_id = {row["id"]: row for row in self._rows}
        return table_of([by_id[entry.id] for entry in entries])


def _check(explainer: Any, work: Work) -> None:
    """Whether all actors will explain the same, and can."""
    if not isinstance(explainer, Explainer):
        raise ArgumentError(f"make_explainer must make an explainer, such as an AnchorImage, got {said(explainer)}.")
    if explainer.meta["params"]["seed"] is None:
        raise ArgumentError(
            "make_explainer must give its explainer a seed, such as seed=0; without one, each actor draws another."
        )
    if work.transform is not None and isinstance(explainer, AnchorTabular):
        raise ArgumentError("transform must be None for tables; transform the data set before.")
