"""``run.json``: what a folder of parts was made by, so that nothing else is ever added to it."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.explainer import version
from torch_anchors.interrupts import finished_first
from torch_anchors.search.protocol import NECESSARY
from torch_anchors.targets.target import ARGMAX
from torch_anchors.whole_files import in_words, partial_name, whole_file

NAME = "run.json"
FORMAT, VERSION = "torch_anchors evaluation", 1


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run is.

    Args:
        explainer: name of its class.
        seed: of all random streams.
        settings: parameters of the explainer and of ``explain``.
        digests: of the model, of training rows, and of all else that decides about explanations.
        source: what is explained, in words.
        versions: of this package and of what it stands on.
        started: when, in UTC.
        n_inputs: how many inputs the source has; None until that is known.
        pictures: where the photographs can be read again, and which part of each the model saw; see `Photographs`.
            None where inputs are no files.
    """

    explainer: str
    seed: int
    settings: dict[str, Any]
    digests: dict[str, str]
    source: str
    versions: dict[str, str] = field(default_factory=lambda: versions())
    started: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    n_inputs: int | None = None
    pictures: dict[str, Any] | None = None

    @property
    def is_about_classes(self) -> bool:
        """Whether the labels are the predictor's classes, which can be right or wrong, and not answers to a target."""
        return bool(self.settings.get("target", repr(ARGMAX)) == repr(ARGMAX))

    @property
    def asks_what_is_necessary(self) -> bool:
        """Whether anchors change the label while they are hidden, and do not keep it while they are shown."""
        return bool(self.settings.get("question") == NECESSARY)

    def write(self, folder: Path) -> None:
        """Write the file.

        Raises:
            CannotWriteError: it cannot be written.
        """
        with whole_file(folder / NAME) as file:
            file.write(self._text().encode())

    def claim(self, folder: Path) -> RunRecord:
        """Makes the folder this run's, unless it is already: the record that is then there.

        Of several processes that do so at once, one writes the file, and the others compare.

        Raises:
            ArgumentError: the folder belongs to a run with another model or other settings.
            CannotWriteError: the file cannot be written.
        """
        there = RunRecord.read(folder)
        if there is None:
            self._write_if_absent(folder)
            there = RunRecord.read(folder) or self
        self._check_same(there, folder)
        return there

    @classmethod
    def read(cls, folder: Path) -> RunRecord | None:
        """The record of a folder; None where there is none.

        Raises:
            ArgumentError: the file is not one of ours, of a newer version, or damaged.
        """
        path = folder / NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
                raise ValueError("it has another format")
            if (found := values.pop("version")) > VERSION:
                raise ValueError(f"its version is {found}, and this package reads up to {VERSION}: install a newer one")
            return cls(**values)
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError, OSError, RecursionError) as error:
            raise ArgumentError(f"{path} cannot be read as the record of an evaluation: {error}.") from error

    def _check_same(self, there: RunRecord, folder: Path) -> None:
        different = list(_differences(there, self))
        if different:
            raise ArgumentError(
                f"{folder} holds another run: {'; '.join(different)}. Choose another folder, do as that run did, or "
                "start again with overwrite=True (--overwrite)."
            )
        newer = [f"{name} {there.versions.get(name)}" for name, own in self.versions.items()
                 if there.versions.get(name) != own]  # fmt: skip
        if newer:
            warnings.warn(
                f"{folder} was begun with {', '.join(newer)}; explanations that follow may differ from those before.",
                AnchorsWarning,
                stacklevel=2,
            )

    def _write_if_absent(self, folder: Path) -> None:
        """Writes the file under another name, which is then given to it unless somebody was faster."""
        path = folder / NAME
        own = partial_name(path)
        with in_words(path), finished_first():
            try:
                with own.open("w", encoding="utf-8") as file:
                    file.write(self._text())
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    os.link(own, path)
                except FileExistsError:
                    return
                except OSError:  # a file system on which no file has two names
                    os.replace(own, path)
            finally:
                with suppress(OSError):
                    own.unlink(missing_ok=True)

    def _text(self) -> str:
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=2) + "\n"


def versions() -> dict[str, str]:
    """Versions that may make a difference to explanations."""
    return {
        "torch_anchors": version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _differences(there: RunRecord, here: RunRecord) -> Iterator[str]:
    if there.explainer != here.explainer:
        yield f"it was made by {there.explainer}, this is {here.explainer}"
    if there.seed != here.seed:
        yield f"its seed is {there.seed}, not {here.seed}"
    yield from _different_items("its setting", there.settings, here.settings)
    for name in sorted({*there.digests, *here.digests}):
        one, other = there.digests.get(name), here.digests.get(name)
        if one != other:
            yield f"it has another {name}"


def _different_items(what: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*there, *here}):
        if there.get(name) != here.get(name):
            yield f"{what} {name} is {there.get(name)!r}, not {here.get(name)!r}"
