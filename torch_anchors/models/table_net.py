"""A small network for tables, for whoever has a table and no model yet."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from torch_anchors._shapes import Float, Int

_WIDTH = 64


def _bare(kind: type[nn.Module], *sizes: int) -> nn.Module:
    """A module whose weights are not drawn yet; drawing them as usual would move the global random state."""
    return skip_init(kind, *sizes)  # type: ignore[no-untyped-call]


class TableNet(nn.Module):
    """Logits (rows, classes), or other numbers, of encoded rows (rows, columns): numbers, and category codes.

    Categories are embedded, numbers standardised by `mean` and `std`; then come two hidden layers. An unknown
    category, whose code is one past the last, and a missing one (NaN) have an embedding of their own. A missing number
    counts as the mean, and for the columns of numbers whose places are `gaps` the network is told that it is missing.
    Weights are drawn from `generator`, so that making a network leaves the global random state as it is.
    """

    categorical: Tensor
    numeric: Tensor
    gaps: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        n_categories: tuple[int | None, ...],
        mean: Float[Tensor, " numbers"],
        std: Float[Tensor, " numbers"],
        gaps: Int[Tensor, " gaps"],
        n_classes: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        categorical = [i for i, n in enumerate(n_categories) if n is not None]
        self.register_buffer("categorical", torch.tensor(categorical, dtype=torch.int64))
        numeric = [i for i, n in enumerate(n_categories) if n is None]
        self.register_buffer("numeric", torch.tensor(numeric, dtype=torch.int64))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("gaps", gaps)
        sizes = [n for n in n_categories if n is not None]
        self._unknown = sizes
        self.embeddings = nn.ModuleList(_bare(nn.Embedding, n + 1, min(8, n)) for n in sizes)
        width = len(numeric) + len(gaps) + sum(min(8, n) for n in sizes)
        hidden = [_bare(nn.Linear, width, _WIDTH), nn.ReLU(), _bare(nn.Linear, _WIDTH, _WIDTH), nn.ReLU()]
        self.layers = nn.Sequential(*hidden, _bare(nn.Linear, _WIDTH, n_classes))
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(module.bias)

    def forward(self, rows: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows classes"]:
        """Logits of the rows."""
        codes, numbers = rows[:, self.categorical], (rows[:, self.numeric] - self.mean) / self.std
        parts = [numbers.masked_fill(numbers.isnan(), 0.0), numbers[:, self.gaps].isnan().to(numbers.dtype)]
        for code, unknown, embedding in zip(codes.unbind(1), self._unknown, self.embeddings, strict=True):
            parts.append(embedding(code.masked_fill(code.isnan(), unknown).long()))
        return self.layers(torch.cat(parts, dim=1))


class ValueNet(nn.Module):
    """One number for each encoded row, (rows, 1), of a network that returns it standardised by `mean` and `std`."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: TableNet, mean: Float[Tensor, ""], std: Float[Tensor, ""]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, rows: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows 1"]:
        """The number of each row, in the units of those it was trained on."""
        numbers: Tensor = self.network(rows) * self.std + self.mean
        return numbers


def train_table_net(
    n_categories: tuple[int | None, ...],
    rows: Float[Tensor, "rows columns"],
    targets: Int[Tensor, " rows"],
    *,
    n_classes: int,
    seed: int = 0,
    epochs: int = 10,
    batch_size: int = 256,
) -> TableNet:
    """A network trained on encoded rows and their classes, in eval mode, on the device of the rows.

    Args:
        n_categories: number of categories of each column; None for a column of numbers.
        rows: numbers and category codes, NaN where a value is missing.
        targets: class of each row, 0 .. n_classes - 1.
        n_classes: number of classes.
        seed: of the weights and of the order of the rows.
        epochs: passes over the rows, at a learning rate that falls to 0 along a cosine.
        batch_size: rows of a step.
    """
    how = {"seed": seed, "epochs": epochs, "batch_size": batch_size}
    return _trained(n_categories, rows, targets, nn.functional.cross_entropy, n_outputs=n_classes, **how)


def train_value_net(
    n_categories: tuple[int | None, ...],
    rows: Float[Tensor, "rows columns"],
    values: Float[Tensor, " rows"],
    *,
    seed: int = 0,
    epochs: int = 10,
    batch_size: int = 256,
) -> ValueNet:
    """A network trained on encoded rows and a number for each by least squares, as `train_table_net` trains.

    Args:
        n_categories: number of categories of each column; None for a column of numbers.
        rows: numbers and category codes, NaN where a value is missing.
        values: the number of each row.
        seed: of the weights and of the order of the rows.
        epochs: passes over the rows.
        batch_size: rows of a step.
    """
    std, mean = torch.std_mean(values, correction=0)
    std = std.clamp_min(1e-6)
    targets = ((values - mean) / std)[:, None]
    how = {"seed": seed, "epochs": epochs, "batch_size": batch_size}
    return ValueNet(_trained(n_categories, rows, targets, nn.functional.mse_loss, n_outputs=1, **how), mean, std).eval()


def _trained(
    n_categories: tuple[int | None, ...],
    rows: Float[Tensor, "rows columns"],
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    n_outputs: int,
    seed: int,
    epochs: int,
    batch_size: int,
) -> TableNet:
    """A network whose `loss` of outputs (rows, outputs) and targets was made small."""
    generator = torch.Generator().manual_seed(seed)
    numbers = rows[:, [i for i, n in enumerate(n_categories) if n is None]]
    gaps = numbers.isnan().any(dim=0).nonzero()[:, 0]
    net = TableNet(n_categories, *_mean_and_std(numbers, gaps), gaps, n_outputs, generator).to(rows.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    n_steps = epochs * -(-len(rows) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(epochs):
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        for first in range(0, len(rows), batch_size):
            batch = order[first : first + batch_size]
            optimizer.zero_grad()
            loss(net(rows[batch]), targets[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return net.eval()


def _mean_and_std(
    numbers: Float[Tensor, "rows numbers"], gaps: Int[Tensor, " gaps"]
) -> tuple[Float[Tensor, " numbers"], Float[Tensor, " numbers"]]:
    """Of each column, those numbered `gaps` by the values that are not missing; 0 and 1 where these are none."""
    if not numbers.shape[1]:  # PyTorch would warn of it
        return numbers.new_zeros(0), numbers.new_ones(0)
    std, mean = torch.std_mean(numbers, dim=0)
    if len(gaps):
        present = ~numbers[:, gaps].isnan()
        n, known = present.sum(dim=0), numbers[:, gaps].masked_fill(~present, 0.0)
        mean[gaps] = known.sum(dim=0) / n.clamp(min=1)
        squares = ((known - mean[gaps]) * present).square().sum(dim=0)
        std[gaps] = torch.where(n > 1, (squares / (n - 1).clamp(min=1)).sqrt(), 1.0)
    return mean, std.clamp_min(1e-6)
