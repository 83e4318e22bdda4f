"""What each fill does to a real network: how sure it stays, what a row costs, and which anchors change.

    python tests/benchmarks/fills.py [--pictures DIR]

Photographs of scikit-image, EfficientNet-Lite0, SLIC superpixels. Hidden superpixels are, of the same random masks for
each fill, half of them and five in six. What is measured, as means over masks and photographs:

sure      probability of the class that the network sees in the photograph: how much of it the fill leaves
agree     share of rows with that label; for an anchor to be worth something, hiding must be able to change the answer
top       probability of the most probable class, whichever that is
entropy   of the probabilities, in nats (at most 6.9): a network that has never seen such pictures is unsure of all
edges     mean difference of neighbouring pixels across the borders of superpixels, over that in the photograph:
          outlines that are not in any photograph show the network shapes of what is hidden
ms        time on the host's CPU for a row beyond the forward pass, in batches of 16

Then the anchors: how many superpixels, at what precision, and how many of them are also in the anchor of mean colours.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torch_anchors import AnchorImage
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.pixels import to_chw
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.images.segmentation import segment
from torch_anchors.models import LoadedModel, load_image_model
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import SampleRequest

PHOTOGRAPHS = ("coffee", "camera", "chelsea", "astronaut", "rocket")
FILLS = ("mean", "blur", "noise", "backgrounds", "infill")
HIDDEN = (0.5, 5 / 6)
BATCH = 16


def photograph(name: str, model: LoadedModel) -> np.ndarray:
    """What the network sees of a photograph of scikit-image."""
    from skimage import data

    return model.fit(getattr(data, name)())


def asked(fill: str, others: list[np.ndarray]) -> dict[str, Any]:
    """The fill as the arguments of an explainer."""
    return {"images_background": others} if fill == "backgrounds" else {"fill": fill}


def rows_of(image: np.ndarray, segments: np.ndarray, settings: dict[str, Any], hidden: float, n: int) -> Tensor:
    """Random rows, from the same masks for each fill."""
    fill = resolve_fill(settings.get("fill", "mean"), settings.get("images_background"))
    sampler = ImageSampler(
        to_chw(image), segments, fill, rng=np.random.default_rng(0), p_sample=hidden, dtype=torch.uint8
    )
    (codes,) = sampler.draw([Order(SampleRequest((), n), np.random.default_rng(1))])
    return torch.cat([sampler.render(part) for part in codes.split(BATCH)])


def milliseconds(image: np.ndarray, segments: np.ndarray, settings: dict[str, Any]) -> float:
    """Time of the CPU for a row."""
    fill = resolve_fill(settings.get("fill", "mean"), settings.get("images_background"))
    sampler = ImageSampler(to_chw(image), segments, fill, rng=np.random.default_rng(0), dtype=torch.uint8)
    (codes,) = sampler.draw([Order(SampleRequest((), BATCH), np.random.default_rng(1))])
    out, taken = sampler.empty(BATCH), []
    for _ in range(7):
        started = time.process_time()
        sampler.render(codes, out)
        taken.append(time.process_time() - started)
    return 1000 * min(taken) / BATCH


def edges(rows: Tensor, segments: np.ndarray, image: np.ndarray) -> float:
    """Steps across the borders of superpixels, over those of the photograph."""

    def step(pixels: Tensor) -> float:
        steps = []
        for axis in (0, 1):
            border = torch.from_numpy(np.diff(segments, axis=axis) != 0)
            steps.append(pixels.float().diff(dim=axis - 2).abs()[..., border].flatten())
        return torch.cat(steps).mean().item()

    return step(rows) / step(to_chw(image))


def probabilities(model: LoadedModel, rows: Tensor) -> Tensor:
    """What the network says of rows, (N, classes)."""
    with torch.inference_mode():
        return torch.cat([model.module(model.preprocess(part)).softmax(1) for part in rows.split(BATCH)])


def measured(model: LoadedModel, image: np.ndarray, segments: np.ndarray, settings: dict[str, Any], n: int) -> list:
    """sure, agree, top, entropy and edges at each share that is hidden, and the cost."""
    label = probabilities(model, to_chw(image)[None]).argmax().item()
    found = []
    for hidden in HIDDEN:
        rows = rows_of(image, segments, settings, hidden, n)
        said = probabilities(model, rows)
        entropy = -(said * said.clamp(min=1e-12).log()).sum(1)
        found += [said[:, label].mean().item(), (said.argmax(1) == label).float().mean().item()]
        found += [said.amax(1).mean().item(), entropy.mean().item(), edges(rows, segments, image)]
    return [*found, milliseconds(image, segments, settings)]


def drawn(image: np.ndarray, segments: np.ndarray, others: list[np.ndarray]) -> Image.Image:
    """Some rows of each fill, one fill below the other."""
    tiles = [
        torch.cat([*rows_of(image, segments, asked(fill, others), hidden, 3)], dim=2)
        for fill in FILLS
        for hidden in HIDDEN
    ]
    pairs = [torch.cat(tiles[i : i + 2], dim=2) for i in range(0, len(tiles), 2)]
    return Image.fromarray(torch.cat(pairs, dim=1).permute(1, 2, 0).numpy())


def show_measured(model: LoadedModel, images: dict, segments: dict, others: dict, options: argparse.Namespace) -> None:
    """The table of what the network says of rows."""
    names = ("sure", "agree", "top", "entropy", "edges")
    print(" " * 12 + "".join(f"{f'{share:.0%} hidden':>40}" for share in HIDDEN))
    print(f"{'fill':>12}" + "".join(f"{name:>8}" for name in (*names, *names, "ms")))
    for fill in options.fills:
        found = [
            measured(model, image, segments[name], asked(fill, others[name]), options.rows)
            for name, image in images.items()
        ]
        print(f"{fill:>12}" + "".join(f"{value:>8.2f}" for value in np.mean(found, axis=0)), flush=True)


def show_anchors(model: LoadedModel, images: dict, segments: dict, others: dict, options: argparse.Namespace) -> None:
    """The anchor of each photograph with each fill."""
    print(f"\n{'photograph':>10} {'fill':>12}  size     status               precision  as mean   rows")
    for name, image in images.items():
        of_mean: frozenset[int] = frozenset()
        for fill in options.fills:
            settings = {"segmentation_fn": segments[name], **asked(fill, others[name])}
            found = AnchorImage(model.module, preprocess=model.preprocess, seed=0, **settings).explain(image)
            of_mean = frozenset(found.features) if fill == "mean" else of_mean
            print(
                f"{name:>10} {fill:>12} {len(found.features):>3} of {segments[name].max() + 1:<3} "
                f"{found.status.value:<20} {found.precision:>9.3f} {len(of_mean & {*found.features}):>8} "
                f"{found.n_rows:>6}  {found.features}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", nargs="+", default=PHOTOGRAPHS)
    parser.add_argument("--fills", nargs="+", default=FILLS, choices=FILLS)
    parser.add_argument("--n-segments", type=int, default=15)
    parser.add_argument("--rows", type=int, default=96, help="for each fill, photograph and share that is hidden")
    parser.add_argument("--anchors", action=argparse.BooleanOptionalAction, default=True, help="search them as well")
    parser.add_argument("--pictures", type=Path, help="folder into which some rows are drawn")
    options = parser.parse_args()
    model = load_image_model()
    images = {name: photograph(name, model) for name in options.photographs}
    segments = {name: segment(image, "slic", {"n_segments": options.n_segments}) for name, image in images.items()}
    others = {name: [other for its, other in images.items() if its != name] for name in images}
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            drawn(image, segments[name], others[name]).save(options.pictures / f"{name}.png")
    show_measured(model, images, segments, others, options)
    if options.anchors:
        show_anchors(model, images, segments, others, options)


if __name__ == "__main__":
    main()
