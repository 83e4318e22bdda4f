"""A model of table rows that a user gives in a file, and whether it is one for the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torch_anchors.cli.console import reason
from torch_anchors.errors import ArgumentError
from torch_anchors.models.files import load_file
from torch_anchors.words import listed, plural

_TRIED = 4


class OneColumn(nn.Module):
    """A network whose single score a row, (rows,), comes as a column, (rows, 1), in which scores are expected."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> Any:
        """What the network returns."""
        output = self.network(rows)
        is_score = isinstance(output, Tensor) and output.ndim == 1 and output.is_floating_point()
        return output.unsqueeze(1) if is_score else output


class ScoresInOrder(nn.Module):
    """A network that names its classes, with its scores in the order of the table's.

    Args:
        network: which returns scores (rows, classes).
        places: where the score of each class of the table is among them.
    """

    def __init__(self, network: nn.Module, places: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("places", torch.tensor(places), persistent=False)

    def forward(self, rows: Tensor) -> Any:
        """The network's scores, in order."""
        return self.network(rows)[:, self.places]


def given_net(path: Path, rows: Tensor, columns: Sequence[str], classes: Sequence[str], *, trust: bool) -> nn.Module:
    """The network of a file, tried on a few rows of the table.

    Args:
        path: of the file.
        rows: the table, as numbers and category codes.
        columns: what the columns of the rows are called.
        classes: what the classes of the table are called; none where it tells a number.
        trust: whether the file may run code.

    Raises:
        ArgumentError: the file holds no network, or one that takes other rows or tells other classes.
    """
    loaded = load_file(path, torch.device("cpu"), trust=trust)
    network: nn.Module = OneColumn(loaded.module)
    if loaded.class_names is not None and classes:
        network = ScoresInOrder(network, _places(path, loaded.class_names, classes))
    tried = rows[:_TRIED]
    try:
        with torch.no_grad():
            output = network(tried)
    except Exception as error:  # whatever the user's program raises
        raise ArgumentError(
            f"--model {path} does not take the rows of the table, which have {plural(len(columns), 'column')} "
            f"({listed(columns)}): {reason(error)}"
        ) from error
    if classes:
        _check_output(path, output, len(tried), classes)
    elif not isinstance(output, Tensor) or output.numel() != len(tried) or not output.is_floating_point():
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ArgumentError(
            f"--model {path} must return one number for each row, and for {len(tried)} rows returns {got}"
        )
    return network


def _places(path: Path, named: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Where the classes of the table are among those that the network names; as they are where it numbers them."""
    if list(named) == [str(i) for i in range(len(classes))]:
        return list(range(len(classes)))
    if sorted(named) != sorted(classes):
        raise ArgumentError(
            f"--model {path} tells the classes {listed(named)}, and --target has others in the table: {listed(classes)}"
        )
    return [named.index(name) for name in classes]


def _check_output(path: Path, output: Any, n_rows: int, classes: Sequence[str]) -> None:
    scores = output[0] if isinstance(output, (tuple, list)) and output else output
    if not isinstance(scores, Tensor) or scores.ndim == 1:  # labels, or something that the explainer reads or refuses
        return
    if scores.ndim != 2 or len(scores) != n_rows:
        raise ArgumentError(
            f"--model {path} must return scores (rows, classes), and for {n_rows} rows returns {tuple(scores.shape)}"
        )
    n_classes = max(2, scores.shape[1])
    if n_classes != len(classes):
        raise ArgumentError(
            f"--model {path} tells {n_classes} classes, and --target has {len(classes)} in the table: {listed(classes)}"
        )
