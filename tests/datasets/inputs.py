"""Small pictures, tables and models to evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torch_anchors import AnchorImage, AnchorTabular, Evaluation
from torch_anchors.datasets.fields import Row
from torch_anchors.datasets.parts import PartWriter
from torch_anchors.datasets.run_record import RunRecord

VARYING = ("seconds", "n_calls")
"""Columns that depend on what else is explained beside an input."""

COLUMNS = ["age", "pay", "rent"]


def pixels(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def folder_of_pictures(folder: Path, n: int = 6) -> Path:
    """Pictures in two class folders; those of odd numbers are called red."""
    for i in range(n):
        path = folder / ("red" if i % 2 else "blue") / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(i)).save(path)
    return folder


def brightness(rows: Tensor) -> Tensor:
    """Logits of dark and bright, by the upper left quarter."""
    mean = rows[:, 0, :8, :8].mean((1, 2))
    return torch.stack([torch.full_like(mean, 125.0), mean], dim=1) / 10


def of_images(model: Any = brightness, **settings: Any) -> AnchorImage:
    grid = {"rows": 2, "cols": 2}
    given = {"seed": 0, "segmentation_fn": "grid", "segmentation_kwargs": grid, "fill": 0.0, "dtype": torch.float32}
    return AnchorImage(model, **{**given, **settings})


def rows_of_table(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3))


def rich(rows: Tensor) -> Tensor:
    score = rows[:, 0] + rows[:, 1]
    return torch.stack([-score, score], dim=1)


def of_rows(model: Any = rich, **settings: Any) -> AnchorTabular:
    return AnchorTabular(model, COLUMNS, **{"seed": 0, "dtype": torch.float32, **settings}).fit(
        rows_of_table(300, seed=1)
    )


def by_id(evaluation: Evaluation, *, varying: tuple[str, ...] = VARYING) -> dict[str, dict[str, Any]]:
    """The rows by their ids, without what varies; no id comes twice."""
    rows = evaluation.table().to_pylist()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: {name: value for name, value in row.items() if name not in varying} for row in rows}


def row(id: str, status: str, label: int | None, **more: Any) -> Row:
    """A row of a run as it is written, of an explanation that nobody has made."""
    numbers = {"precision": 0.98, "precision_low": 0.95, "precision_high": 1.0, "coverage": 0.5, "n_rows": 100}
    return {"id": id, "status": status, "label": label, **numbers, **more}


def folder_of(folder: Path, rows: list[Row], n_inputs: int | None = None, **more: Any) -> Evaluation:
    """A run that has written these rows; `more` is of its record."""
    about: dict[str, Any] = {"explainer": "AnchorImage", "seed": 0, "settings": {}, "digests": {}, "source": "pictures"}
    RunRecord(**{**about, "n_inputs": n_inputs, **more}).write(folder)
    writer = PartWriter(folder, 0, 2)
    for one in rows:
        writer.add(one)
    writer.flush()
    return Evaluation(folder)
