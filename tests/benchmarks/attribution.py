"""Our attributions beside captum's, of the same photographs, superpixels, fill and number of model rows.

    python tests/benchmarks/attribution.py

Needs ``pip install ".[bench,captum]"``. An explanation is made of each photograph; the others may ask the model as
often as it did. FeatureAblation hides one superpixel after the other and needs fewer rows. Occlusion slides a window
that is as small as the rows allow, by half its width; a superpixel has the mean of its pixels. KernelShap draws as many
sets of superpixels as there are rows. What is hidden shows the superpixel's mean colour, for all.

What is measured, from rows that are not counted:

deletion    area under the probability of the explained class while superpixels are hidden, the most important first;
            lower is better
insertion   the same while they are shown, from nothing: higher is better
sufficiency share of perturbed copies that keep the label while as many of the most important superpixels are shown as
            the anchor has, the others at random: what an anchor promises of itself. Photographs whose anchor is empty
            are left out of this column
rows        that the model was asked about to make the attribution

Means over photographs and seeds, with standard errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from captum.attr import FeatureAblation, KernelShap, Occlusion
from skimage import data
from torch import Tensor, nn

from torch_anchors import AnchorImage
from torch_anchors.attribution import KINDS
from torch_anchors.models import load_image_model

PHOTOGRAPHS = ("coffee", "chelsea", "astronaut", "rocket", "camera", "coins")
COPIES = 100
"""Perturbed copies for the share of those that keep the label."""


class Probabilities(nn.Module):
    """Probabilities of a network for pixels 0..255; counts the rows that it was asked about."""

    def __init__(self, module: nn.Module, preprocess: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.preprocess, self.n_rows = module, preprocess, 0

    def forward(self, rows: Tensor) -> Tensor:
        self.n_rows += len(rows)
        with torch.inference_mode():
            return self.module(self.preprocess(rows).contiguous(memory_format=torch.channels_last)).softmax(dim=1)


@dataclass
class Scene:
    """A photograph, its superpixels, and what hidden ones show."""

    pixels: Tensor  # (1, 3, H, W)
    segments: Tensor  # (H, W)
    fill: Tensor = field(init=False)

    def __post_init__(self) -> None:
        flat, self.n_segments = self.segments.flatten(), int(self.segments.max()) + 1
        sums = torch.zeros(3, self.n_segments).index_add_(1, flat, self.pixels[0].flatten(1))
        self.fill = (sums / torch.bincount(flat))[:, self.segments][None]

    def rows(self, keep: np.ndarray) -> Tensor:
        """Copies (n, 3, H, W) that show the superpixels `keep` (n, K)."""
        shown = torch.from_numpy(keep.astype(np.float32))[:, self.segments][:, None]
        return torch.lerp(self.fill, self.pixels, shown)

    def of_superpixels(self, picture: Tensor) -> np.ndarray:
        """The mean of each superpixel's pixels in a picture (H, W)."""
        sums = torch.zeros(self.n_segments).index_add_(0, self.segments.flatten(), picture.flatten().float())
        return (sums / torch.bincount(self.segments.flatten())).numpy()


def probabilities(model: Probabilities, scene: Scene, keep: np.ndarray) -> Tensor:
    return torch.cat([model(scene.rows(part)) for part in np.array_split(keep, max(1, len(keep) // 32))])


def captums(scene: Scene, label: int, n_rows: int) -> dict[str, Callable[[nn.Module], Tensor]]:
    """captum's methods, each with at most about so many rows."""
    size, side = scene.pixels.shape[-1], int(n_rows**0.5)  # of the photograph, and windows in a line
    window = next(w for w in range(2, size, 2) if (size - w) // (w // 2) + 1 <= side)
    shared = {"target": label, "baselines": scene.fill, "perturbations_per_eval": 16}
    superpixels = {"feature_mask": scene.segments[None, None], **shared}
    windows = {"sliding_window_shapes": (3, window, window), "strides": (3, window // 2, window // 2), **shared}
    return {
        "FeatureAblation": lambda model: FeatureAblation(model).attribute(scene.pixels, **superpixels),
        "Occlusion": lambda model: Occlusion(model).attribute(scene.pixels, **windows),
        "KernelShap": lambda model: KernelShap(model).attribute(scene.pixels, n_samples=n_rows - 1, **superpixels),
    }


def measured(model: Probabilities, scene: Scene, label: int, values: np.ndarray, size: int) -> dict[str, float]:
    """Deletion, insertion and, of an anchor of `size` superpixels, sufficiency of a ranking."""
    ranking, n = np.argsort(-values, kind="stable"), len(values)
    first = np.zeros((n + 1, n), dtype=bool)
    first[:, ranking] = np.tri(n + 1, n, -1, dtype=bool)  # row i: the first i of the ranking
    inserted = probabilities(model, scene, first)[:, label]
    deleted = probabilities(model, scene, ~first)[:, label]
    keep = np.random.default_rng(0).random((COPIES, n)) < 0.5
    keep[:, ranking[:size]] = True
    kept = (probabilities(model, scene, keep).argmax(1) == label).double().mean() if size else torch.nan
    areas = {"deletion": float(torch.trapezoid(deleted) / n), "insertion": float(torch.trapezoid(inserted) / n)}
    return {**areas, "sufficiency": float(kept)}


def outcomes(model: Probabilities, name: str, pixels: np.ndarray, seed: int, n_segments: int) -> list[tuple[str, dict]]:
    """What was measured of each attribution of a photograph, by its name."""
    settings = {"n_segments": n_segments, "compactness": 20, "sigma": 1}
    given = torch.from_numpy(pixels).permute(2, 0, 1).float()
    model.n_rows = 0
    explanation = AnchorImage(model, segmentation_fn="slic", segmentation_kwargs=settings, seed=seed).explain(given)
    scene, label = Scene(given[None], torch.from_numpy(explanation.segments)), int(explanation.label)
    size, status = len(explanation.features), explanation.status.value
    print(f"{name}, seed {seed}: {size} of {scene.n_segments} superpixels, {status}, {model.n_rows} rows", flush=True)
    values = {kind: scene.of_superpixels(torch.from_numpy(explanation.attribution(kind))) for kind in KINDS}
    rows = dict.fromkeys(KINDS, model.n_rows)
    torch.manual_seed(seed)
    for method, attribute in captums(scene, label, explanation.n_rows).items():
        model.n_rows = 0
        values[method] = scene.of_superpixels(attribute(model)[0].sum(0))
        rows[method] = model.n_rows
    return [(m, {**measured(model, scene, label, own, size), "rows": rows[m]}) for m, own in values.items()]


def mean_and_error(values: list[float]) -> str:
    """Mean and standard error of the values that there are."""
    known = np.array(values)[~np.isnan(values)]
    return f"{known.mean():.3f} ± {known.std(ddof=1) / len(known) ** 0.5:.3f}" if len(known) > 1 else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photographs", nargs="+", default=PHOTOGRAPHS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--segments", type=int, default=20)
    options = parser.parse_args()
    loaded = load_image_model("efficientnet-lite0")
    model = Probabilities(loaded.module.to(memory_format=torch.channels_last), loaded.preprocess).eval()
    found: dict[str, list[dict]] = {}
    for name in options.photographs:
        pixels = loaded.fit(getattr(data, name)())
        for seed in range(options.seeds):
            for method, numbers in outcomes(model, name, pixels, seed, options.segments):
                found.setdefault(method, []).append(numbers)
                print(f"    {method:<16}", {key: round(number, 4) for key, number in numbers.items()}, flush=True)
    print(f"\n{'attribution':<18}{'deletion':>16}{'insertion':>16}{'sufficiency':>16}{'rows':>7}")
    for method, several in found.items():
        columns = [mean_and_error([one[name] for one in several]) for name in ("deletion", "insertion", "sufficiency")]
        rows = np.mean([one["rows"] for one in several])
        print(f"{method:<18}" + "".join(f"{column:>16}" for column in columns) + f"{rows:>7.0f}")


if __name__ == "__main__":
    main()
