"""Every input of a data set explained, in a folder that a run can be continued in."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch_anchors._extras import import_extra
from torch_anchors.datasets.evaluation import Evaluation
from torch_anchors.datasets.locks import locked
from torch_anchors.datasets.parts import PartWriter, parts_of, remove_leftovers, remove_parts, statuses
from torch_anchors.datasets.report.photographs import described
from torch_anchors.datasets.resolve import source_of
from torch_anchors.datasets.run import Run
from torch_anchors.datasets.run_record import RunRecord
from torch_anchors.datasets.shares import Share
from torch_anchors.datasets.sources import Source
from torch_anchors.engine.digest import digest_of
from torch_anchors.errors import ArgumentError
from torch_anchors.explainer import Explainer
from torch_anchors.explanation import plain
from torch_anchors.settings import ManyQuestion
from torch_anchors.tables.anchor_tabular import AnchorTabular
from torch_anchors.whole_files import in_words
from torch_anchors.words import LabelNames

PART_SIZE = 1000
"""Rows of a part, unless the user says otherwise."""

_NO_MATTER = ("seed", "max_rows", "n_covered_ex", "verbose", "verbose_every")
"""Settings that change no column of the table, or are recorded apart."""


def evaluate(
    explainer: Explainer[Any, Any],
    source: Any,
    out: str | Path,
    *,
    ids: Any = None,
    true_label: Any = None,
    transform: Callable[[Any], Any] | None = None,
    label_names: LabelNames = None,
    progress: bool = True,
    overwrite: bool = False,
    part_size: int = PART_SIZE,
    rank: int | None = None,
    world_size: int | None = None,
    **settings: Any,
) -> Evaluation:
    """Explains every input of a data set, and writes one row for each into a folder of Parquet files.

    However the work is interrupted, the same call continues it: inputs that have a row are not explained again. Each
    explanation is what ``explain`` gives for its input alone. An input that cannot be read or explained is a row with
    the reason, and the work goes on.

    Args:
        explainer: what explains; an `AnchorTabular` that was fitted, or another one.
        source: for images, a folder (with the folders in it, whose names are the true labels), a list of files, an
            array or tensor (N, ...), a ``Dataset`` or ``DataLoader`` that does not shuffle, a Hugging Face data set, or
            any iterable of images, of (image, true label) pairs or of mappings; for tables a CSV or Parquet file, a
            DataFrame, an array, an Arrow table, a Hugging Face data set, or any of the others with rows for images. Or
            a `Source`.
        out: the folder; made if it is missing.
        ids: what the inputs are called: an id for each, or the name of a column (of items: of their part) with them.
            None for paths below the folder, paths as listed, or numbers from 0.
        true_label: of tables, the name of the column with the true label, or a label for each row; of items that are
            mappings, the name of their part with it.
        transform: applied to each image when it was read, in the reading threads, such as a model's `fit`.
        label_names: the name of each class; None for the explainer's `class_names`.
        progress: show a bar with the inputs a second and the time that remains.
        overwrite: start again, whatever is in the folder.
        part_size: most rows of a file. A smaller one is written when the last was written a minute ago.
        rank: number of this process among several, each of which takes its share by a hash of the id; None for what
            the environment says (``RANK`` and ``WORLD_SIZE``, as torchrun sets them), or 0 of 1.
        world_size: how many processes there are.
        **settings: parameters of the explainer's ``explain_batch``.

    Raises:
        ArgumentError: an argument cannot be used; the folder holds a run with another model or other settings; or
            another process is writing there.
        PredictorCallError, PredictorReturnTypeError: the model fails on the first few inputs, or on many in a row.
        CannotWriteError: the folder cannot be written in, or the disk is full.
        KeyboardInterrupt: it was interrupted (Ctrl-C); what was finished is in the folder.
        ImportError: pyarrow is not installed.

    Example:
        >>> evaluation = evaluate(explainer, "photographs", "explained")  # doctest: +SKIP
        >>> evaluation.table().to_pandas().groupby("true_label").coverage.mean()  # doctest: +SKIP
    """
    import_extra("pyarrow.parquet", "evaluate")
    _check_part_size(part_size)
    question = question_of(explainer, settings)
    share = _share(rank, world_size)
    is_table = isinstance(explainer, AnchorTabular)
    if transform is not None and is_table:
        raise ArgumentError("transform must be None for tables; transform the table before.")
    label_names = explainer.class_names if label_names is None else label_names
    inputs = source_of(source, ids, true_label, label_names, is_table=is_table)
    folder = Path(out)
    _make_folder(folder)
    with locked(folder / f".lock-{share.rank:03d}", f"The folder {folder}"):
        record = _record(explainer, question, inputs, transform, label_names)
        record = _claimed(record, folder, share, overwrite=overwrite)
        done = {} if overwrite else dict(statuses(folder))
        writer = PartWriter(folder, share.rank, part_size)
        run = Run(explainer, question, inputs, transform, label_names, share, record, writer)
        n_inputs = run.work(done, progress=progress and share.rank == 0)
        if share.rank == 0 and record.n_inputs != n_inputs:
            replace(record, n_inputs=n_inputs).write(folder)
    return Evaluation(folder)


def question_of(explainer: Explainer[Any, Any], settings: dict[str, Any]) -> ManyQuestion:
    """The question that is asked of every input: the settings, checked.

    Raises:
        ArgumentError: a setting that ``explain_batch`` does not have, or a value that it cannot work with.
    """
    kind: type[ManyQuestion] = type(explainer).explain_batch.question  # type: ignore[attr-defined]
    if isinstance(settings.get("target"), str):
        raise ArgumentError(
            f"target must be what counts as the same answer, such as Within(10), got {settings['target']!r}. The "
            "column with the true label is true_label=..."
        )
    instances, *known = [one.name for one in fields(kind)]
    known = [name for name in known if name not in ("progress", "on_error")]
    for name in settings:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else f" It has {', '.join(known)}."
            raise ArgumentError(f"settings must be parameters of explain_batch, which has no {name!r}.{hint}")
    given: dict[str, Any] = {instances: None, **settings}
    return kind(**given)


def settings_of(explainer: Explainer[Any, Any], question: ManyQuestion) -> dict[str, Any]:
    """The parameters of the explainer and of ``explain`` that decide about explanations, as JSON can hold them.

    Raises:
        ArgumentError: the explainer's seed, which has a column of its own, does not fit into it.
    """
    if explainer.seed >= 2**64:
        raise ArgumentError(f"the explainer's seed must be below 2**64 for a column of it, got {explainer.seed}.")
    settings: dict[str, Any] = plain({**explainer.meta["params"], **question.params()})
    return {name: value for name, value in settings.items() if name not in _NO_MATTER}


def _check_part_size(part_size: int) -> None:
    if not isinstance(part_size, int) or isinstance(part_size, bool) or part_size < 1:
        raise ArgumentError(f"part_size must be a whole number of at least 1, got {part_size!r}.")


def _share(rank: int | None, world_size: int | None) -> Share:
    if (rank is None) != (world_size is None):
        raise ArgumentError("rank and world_size must be given together, or neither for what the environment says.")
    return Share.of_environment() if rank is None or world_size is None else Share(rank, world_size)


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"out must be a folder, and {folder} is a file.")
    with in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _record(
    explainer: Explainer[Any, Any],
    question: ManyQuestion,
    source: Source,
    transform: Callable[[Any], Any] | None,
    label_names: LabelNames,
) -> RunRecord:
    """What the run is."""
    settings = settings_of(explainer, question)
    asked = explainer.about(question.target)
    digests = {**asked.digests(), "transform": digest_of(transform), "label names": digest_of(label_names)}
    if (content := source.digest()) is not None:
        digests["source"] = content
    pictures = described(getattr(source, "folder", None), transform, getattr(source, "value_range", None))
    return RunRecord(type(explainer).__name__, explainer.seed, settings, digests, source.words, pictures=pictures)


def _claimed(record: RunRecord, folder: Path, share: Share, *, overwrite: bool) -> RunRecord:
    """Makes the folder this run's: the record that is in it then."""
    if not overwrite and parts_of(folder) and RunRecord.read(folder) is None:
        raise ArgumentError(
            f"{folder} has parts and no run.json, so that nobody knows what they are; choose another folder, or start "
            "again with overwrite=True (--overwrite)."
        )
    remove_leftovers(folder, share.rank, share.world_size)
    if not overwrite:
        return record.claim(folder)
    remove_parts(folder, share.rank, share.world_size)
    if share.rank == 0:
        record.write(folder)
    elif RunRecord.read(folder) is None:
        record.claim(folder)
    return record
