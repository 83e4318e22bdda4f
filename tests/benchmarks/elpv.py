"""A whole data set from the command line: 2,624 photographs of solar cells, and a small network trained on the spot.

    pip install elpv-dataset && python tests/benchmarks/elpv.py --out OUT

The photographs (electroluminescence, 300 x 300, grey; CC BY-NC-SA 4.0) are those of the package elpv-dataset. A network
learns to tell defective cells (with a probability above one half, by experts) from intact ones, on four fifths of them,
and its accuracy on the others is printed. Then all are written into two class folders, and `torch-anchors evaluate`
explains them in a process of its own. What is hidden of a cell shows an intact one instead: the question is which
part of a cell makes it defective. What is measured:

throughput  photographs and model rows a second
share       time inside the model's forward passes, over the time of the whole command after the model was loaded
memory      resident memory when 500 and when 2,500 rows of the result have been made
report      OUT/explained/report.html, to be looked at: are the anchors on the cracks?

As in many.py, the C library is told to keep the memory that it has.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))

from many import ALLOCATOR

CLASSES = ("intact", "defective")
BACKGROUNDS = 16
"""Intact cells that are shown for what is hidden of others."""

MEASURED_AT = (500, 2500)
"""Numbers of finished photographs at which the memory is looked at."""


class Net(nn.Module):
    """Five convolutions, of which the first halves the picture, and what they find anywhere in the cell."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *widths), widths, strict=False):
            stride = 1 if layers else 2
            layers += [nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if stride == 1 else []
        self.features, self.head = nn.Sequential(*layers), nn.Linear(widths[-1], len(CLASSES))

    def forward(self, rows: Tensor) -> Tensor:
        # A crack is small: the brightest answer of each filter counts, not only the mean of all.
        found = self.features(rows).flatten(2)
        return self.head(found.mean(2) + found.amax(2))


def photographs() -> tuple[np.ndarray, np.ndarray]:
    """All cells, (N, 300, 300) in bytes, and whether each is defective."""
    from elpv_dataset.utils import load_dataset

    images, probabilities, _ = load_dataset()
    return images, (probabilities > 0.5).astype(np.int64)


def trained(
    images: np.ndarray, defective: np.ndarray, options: argparse.Namespace
) -> tuple[nn.Module, float, list[int]]:
    """The network, its accuracy on the fifth of the photographs that it has not seen, and the surest intact cells."""
    torch.manual_seed(0)
    pixels = torch.from_numpy(images)[:, None].float() / 255
    pixels = F.interpolate(pixels, (options.size, options.size), mode="area").expand(-1, 3, -1, -1)
    labels, order = torch.from_numpy(defective), torch.randperm(len(images))
    held_out, own = order[: len(order) // 5], order[len(order) // 5 :]
    net = Net(16, 32, 64, 96, 128).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    batches = -(-len(own) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=options.epochs * batches)
    for _ in range(options.epochs):
        for batch in own[torch.randperm(len(own))].split(32):
            rows = normalized(turned(patched(pixels[batch], labels[batch])))
            F.cross_entropy(net(rows), labels[batch], label_smoothing=0.05).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    net.eval()
    with torch.inference_mode():
        scores = torch.cat([net(normalized(rows)).softmax(1) for rows in pixels.split(64)])
    accuracy = (scores.argmax(1) == labels)[held_out].float().mean()
    surest = torch.where(labels == 0, scores[:, 0], -1).argsort(descending=True)
    return net, float(accuracy), surest[:BACKGROUNDS].tolist()


def normalized(pixels: Tensor) -> Tensor:
    return ((pixels - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)


def turned(pixels: Tensor) -> Tensor:
    """Mirrored, turned by quarters, and brighter or darker: a cell stays as intact as it is."""
    flips = [axis for axis in (2, 3) if torch.rand(()) < 0.5]
    pixels = torch.rot90(pixels.flip(flips), int(torch.randint(4, ())), (2, 3))
    return pixels * (0.8 + 0.4 * torch.rand(len(pixels), 1, 1, 1))


def patched(pixels: Tensor, labels: Tensor) -> Tensor:
    """Some cells with pieces of others of their class: seams, which perturbed copies have, tell nothing."""
    others = torch.arange(len(labels))
    for label in labels.unique():
        own = torch.nonzero(labels == label)[:, 0]
        others[own] = own[torch.randperm(len(own))]
    pieces = (torch.rand(len(pixels), 1, 5, 5) < 0.3) & (torch.rand(len(pixels), 1, 1, 1) < 0.5)
    replaced = F.interpolate(pieces.float(), pixels.shape[-2:]).bool()
    return torch.where(replaced, pixels[others], pixels)


def written(images: np.ndarray, defective: np.ndarray, kept: list[int], surest: list[int], out: Path) -> None:
    """The photographs in a folder for each class, and the backgrounds in one of their own."""
    from PIL import Image

    folders = [out / "photographs" / name for name in CLASSES]
    for folder in (*folders, out / "backgrounds"):
        folder.mkdir(parents=True, exist_ok=True)
    for number in kept:
        Image.fromarray(images[number]).save(folders[defective[number]] / f"cell{number + 1:04d}.png")
    for number in surest:
        Image.fromarray(images[number]).save(out / "backgrounds" / f"cell{number + 1:04d}.png")


def command(options: argparse.Namespace) -> list[str]:
    """The arguments of `torch-anchors`."""
    given = ["evaluate", str(options.out / "photographs"), "--out", str(options.out / "explained"), "--overwrite"]
    model = ["--model", str(options.out / "net.pt"), "--trust", "--input-size", str(options.size)]
    scale = ["--mean", *["0.5"] * 3, "--std", *["0.25"] * 3, "--class-names", str(options.out / "classes.txt")]
    hidden = ["--background", str(options.out / "backgrounds"), "--segments", "grid", "--n-segments", "16"]
    return [*given, *model, *scale, *hidden, "--threshold", "0.9", "--max-anchor-size", "3", "--max-rows", "128"]


def explain(options: argparse.Namespace) -> None:
    """In a process of its own: the command, with a clock in the model and an eye on the memory."""
    from torch_anchors import models
    from torch_anchors.cli import main
    from torch_anchors.datasets.parts import PartWriter

    spent, memory, n_made = [0.0, 0.0], {}, 0
    load, add = models.load_image_model, PartWriter.add

    def timed_model(*arguments: Any, **more: Any) -> Any:
        model = load(*arguments, **more)
        forward = model.module.forward

        def timed(rows: Tensor) -> Tensor:
            started = time.perf_counter()
            try:
                return forward(rows)
            finally:
                spent[0] += time.perf_counter() - started

        model.module.forward = timed
        spent[1] = time.perf_counter()
        return model

    def counted(writer: PartWriter, row: Any) -> None:
        nonlocal n_made
        n_made += 1
        if n_made in MEASURED_AT:
            memory[n_made] = resident()
        add(writer, row)

    models.load_image_model, PartWriter.add = timed_model, counted  # type: ignore[method-assign,assignment]
    status = main(command(options))
    whole = time.perf_counter() - spent[1]
    numbers = {"status": status, "seconds": whole, "in_model": spent[0], "memory": memory, "n": n_made}
    (options.out / "measured.json").write_text(json.dumps(numbers))


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def tell(options: argparse.Namespace) -> None:
    """What was measured."""
    from torch_anchors import Evaluation

    numbers = json.loads((options.out / "measured.json").read_text())
    summary = Evaluation(options.out / "explained").summary()
    seconds, rows = numbers["seconds"], summary["n_rows"] or 0
    print(f"{numbers['n']:,} photographs in {seconds:.0f} s: {numbers['n'] / seconds:.2f} a second, ", end="")
    print(f"{rows:,} model rows, {rows / seconds:,.0f} a second; exit status {numbers['status']}")
    print(f"share of the time in the model: {numbers['in_model'] / seconds:.3f}")
    print("resident memory: " + ", ".join(f"{mb:.0f} MB at {n}" for n, mb in numbers["memory"].items()))
    print("summary: " + ", ".join(f"{name} {value:.4g}" for name, value in summary.items() if value is not None))
    print(f"report: {options.out / 'explained' / 'report.html'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the photographs, the network and the run")
    parser.add_argument("--size", type=int, default=96, help="pixels that the network sees of a cell (default: 96)")
    parser.add_argument("--epochs", type=int, default=10, help="of training (default: 10)")
    parser.add_argument("--n", type=int, help="only so many photographs")
    parser.add_argument("--explain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.explain:
        explain(options)
        return
    images, defective = photographs()
    started = time.perf_counter()
    net, accuracy, surest = trained(images, defective, options)
    print(f"trained in {time.perf_counter() - started:.0f} s; held-out accuracy {accuracy:.3f}", end="")
    print(f" ({1 - defective.mean():.3f} by always saying intact)", flush=True)
    kept = np.random.default_rng(0).permutation(len(images))[: options.n]
    written(images, defective, sorted(kept.tolist()), surest, options.out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(net, torch.zeros(2, 3, options.size, options.size)).save(str(options.out / "net.pt"))
    (options.out / "classes.txt").write_text("\n".join(CLASSES))
    subprocess.run([sys.executable, *sys.argv, "--explain"], env={**os.environ, **ALLOCATOR}, check=True)
    tell(options)


if __name__ == "__main__":
    main()
