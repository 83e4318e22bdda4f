"""Pictures of drawn squares and discs, and a detector and a segmenter of torchvision that are trained on them.

Both are architectures without downloaded weights. They learn in minutes, and what they ought to look at is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELL = 32
SIDE = 3 * CELL
"""A picture is three by three cells."""
SQUARE, DISC = 1, 2
SMALLEST, LARGEST = 17, 27
BATCH, N_EXAMPLES = 8, 512


@dataclass(frozen=True)
class Shape:
    """A square or a disc by the box around it."""

    kind: int
    left: int
    top: int
    size: int

    @property
    def box(self) -> list[float]:
        """(x1, y1, x2, y2)."""
        return [float(end) for end in (self.left, self.top, self.left + self.size, self.top + self.size)]

    @property
    def cell(self) -> int:
        """The cell of its middle, row by row."""
        row, column = (self.top + self.size // 2) // CELL, (self.left + self.size // 2) // CELL
        return 3 * row + column

    def pixels(self) -> np.ndarray:
        """Which pixels (SIDE, SIDE) it covers."""
        y, x = np.mgrid[:SIDE, :SIDE]
        if self.kind == SQUARE:
            inside = (x >= self.left) & (x < self.left + self.size) & (y >= self.top) & (y < self.top + self.size)
        else:
            radius = self.size / 2
            inside = (x + 0.5 - self.left - radius) ** 2 + (y + 0.5 - self.top - radius) ** 2 < radius**2
        return inside


def background(rng: np.random.Generator) -> np.ndarray:
    """A slope of muted colour with grain, (3, SIDE, SIDE) in 0..1."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    slope = rng.uniform(0.25, 0.45, 3)[:, None, None] + rng.uniform(-0.1, 0.1, (3, 1, 1)) * x
    slope = slope + rng.uniform(-0.1, 0.1, (3, 1, 1)) * y
    return slope + rng.normal(0, 0.03, (3, SIDE, SIDE))


def drawn(shapes: list[Shape], rng: np.random.Generator) -> Tensor:
    """A picture (3, SIDE, SIDE) in 0..1 with these shapes, each of a colour brighter than what is behind."""
    picture = background(rng)
    for shape in shapes:
        colour = rng.uniform(0.65, 1.0, 3)
        inside = shape.pixels()
        picture[:, inside] = colour[:, None] + rng.normal(0, 0.03, (3, int(inside.sum())))
    return torch.from_numpy(picture.clip(0, 1).astype(np.float32))


def in_cells(rng: np.random.Generator, kinds: list[int]) -> list[Shape]:
    """Shapes of these kinds, each wholly inside of a cell of its own."""
    shapes = []
    for kind, cell in zip(kinds, rng.permutation(9), strict=False):
        size = int(rng.integers(SMALLEST, LARGEST))
        left, top = rng.integers(2, CELL - size - 1, 2)
        shapes.append(Shape(kind, int(cell % 3 * CELL + left), int(cell // 3 * CELL + top), size))
    return shapes


def smoothed(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """The picture with some cells as smooth as a perturbed row has them, in which there is nothing to find."""
    behind = F.avg_pool2d(torch.from_numpy(background(rng)).float()[None], 9, 1, 4)[0]
    hidden = torch.from_numpy(rng.random((3, 3)) < rng.uniform(0, 0.8))
    hidden = hidden.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
    return torch.where(hidden, behind, picture)


def example(rng: np.random.Generator) -> tuple[Tensor, list[Shape]]:
    """A picture to learn from; of some, cells are smooth, and what was in them is gone."""
    shapes = in_cells(rng, rng.choice([SQUARE, DISC], int(rng.integers(0, 5))).tolist())
    picture = drawn(shapes, rng)
    if rng.random() < 0.5:
        left = smoothed(picture, rng)
        shapes = [one for one in shapes if bool((left == picture)[:, torch.from_numpy(one.pixels())].all())]
        picture = left
    return picture, shapes


def detector(backbone: nn.Module) -> nn.Module:
    """Faster R-CNN with MobileNetV3, for two classes, whose backbone starts as that of a trained `segmenter`."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    model = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=3,
        min_size=2 * SIDE,  # as its features are 32 pixels wide
        max_size=2 * SIDE,
        rpn_post_nms_top_n_train=30,
        rpn_post_nms_top_n_test=12,
        box_batch_size_per_image=16,
        box_detections_per_img=8,
    )
    sizes, ratios = (32, 40, 48, 56, 64), (0.5, 1.0, 2.0)  # those of photographs are larger than all that is drawn
    model.rpn.anchor_generator = AnchorGenerator((sizes,) * 3, (ratios,) * 3)
    model.backbone.body.load_state_dict(backbone.state_dict())
    return model


def segmenter() -> nn.Module:
    """LR-ASPP with MobileNetV3, for the background, squares and discs."""
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)


def detector_loss(model: nn.Module, batch: list[tuple[Tensor, list[Shape]]]) -> Tensor:
    """Of a batch of pictures."""
    pictures, shapes = zip(*batch, strict=True)
    wanted = [
        {
            "boxes": torch.tensor([one.box for one in some]).reshape(-1, 4),
            "labels": torch.tensor([one.kind for one in some], dtype=torch.int64),
        }
        for some in shapes
    ]
    return sum(model(list(pictures), wanted).values())


def segmenter_loss(model: nn.Module, batch: list[tuple[Tensor, list[Shape]]]) -> Tensor:
    """Of a batch of pictures."""
    pictures, shapes = zip(*batch, strict=True)
    classes = torch.zeros(len(batch), SIDE, SIDE, dtype=torch.int64)
    for i, some in enumerate(shapes):
        for one in some:
            classes[i, torch.from_numpy(one.pixels())] = one.kind
    return F.cross_entropy(model(torch.stack(pictures))["out"], classes, weight=torch.tensor([1.0, 2.0, 2.0]))


def settle(model: nn.Module, forward: Callable[[], Tensor]) -> None:
    """Gives batch normalisation the means over many pictures: those of MobileNetV3 follow too slowly for few steps."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of all that is seen
    with torch.no_grad():
        for _ in range(20):
            forward()


def trained(
    make: Callable[[], nn.Module],
    loss_of: Callable[[nn.Module, list[tuple[Tensor, list[Shape]]]], Tensor],
    n_steps: int,
    cache: Path,
) -> nn.Module:
    """A network that has learned from `n_steps` batches, read from the cache if it has been trained before."""
    torch.manual_seed(0)
    model = make()
    if cache.exists():
        model.load_state_dict(torch.load(cache, weights_only=True))
        return model.eval()
    rng, started = np.random.default_rng(0), time.perf_counter()
    examples = [example(rng) for _ in range(N_EXAMPLES)]
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=n_steps, pct_start=0.2)
    for step in range(n_steps):
        loss = loss_of(model, [examples[i] for i in rng.integers(N_EXAMPLES, size=BATCH)])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == n_steps - 1:
            print(f"  step {step}: loss {loss.item():.3f}, {time.perf_counter() - started:.0f} s", flush=True)
    settle(model, lambda: loss_of(model, [examples[i] for i in rng.integers(N_EXAMPLES, size=2 * BATCH)]))
    cache.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), cache)
    return model.eval()
