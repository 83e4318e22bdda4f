"""Our batched SLIC against scikit-image's: how close the superpixels are, and what they cost.

    python tests/benchmarks/slic.py [--device cuda] [--threads 1] [--size 224]

Boundary recall is the share of one map's boundary pixels that have a boundary pixel of the other within 2 pixels. Times
are an image's, medians of the CPU's seconds, which other work on the machine does not change as much, or of a GPU's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from skimage import data
from skimage.segmentation import find_boundaries
from skimage.segmentation import slic as slic_skimage
from skimage.transform import resize

from torch_anchors.images.slic import slic

PHOTOGRAPHS = ("coffee", "astronaut", "chelsea", "camera", "rocket", "coins", "hubble_deep_field", "moon", "retina")
SETTINGS = {"compactness": 10.0, "sigma": 0.5}
BATCHES = (8, 32)


def photograph(name: str, size: int) -> np.ndarray:
    image = getattr(data, name)()
    image = np.stack([image] * 3, axis=-1) if image.ndim == 2 else image
    return resize(image, (size, size), anti_aliasing=True).astype(np.float32)


def boundary_recall(found: np.ndarray, wanted: np.ndarray) -> float:
    found, wanted = (find_boundaries(labels, mode="thick") for labels in (found, wanted))
    return float((distance_transform_edt(~found)[wanted] <= 2).mean())


def milliseconds(functions: list[Callable[[], object]], device: torch.device, repeats: int = 7) -> list[float]:
    """Median time of a call of each, which take turns, after one that warms up: of the CPU, or until a GPU is done."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, own in zip(functions, times, strict=True):
            start = clock()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            own.append(1000 * (clock() - start))
    return [statistics.median(own[1:]) for own in times]


def compare_times(images: list[np.ndarray], stacked: torch.Tensor, n_segments: int) -> str:
    """The times of an image: scikit-image's and ours, alone and in batches."""

    def theirs() -> None:
        for image in images[:8]:
            slic_skimage(image, n_segments, start_label=0, **SETTINGS)

    def alone() -> None:
        for image in stacked[:8]:
            slic(image[None], n_segments, **SETTINGS)

    batches = [torch.cat([stacked] * 4)[:n] for n in BATCHES]
    together = [lambda batch=batch: slic(batch, n_segments, **SETTINGS) for batch in batches]
    peer, *ours = milliseconds([theirs, alone, *together], stacked.device)
    each = [ours[0] / 8, *(time / n for time, n in zip(ours[1:], BATCHES, strict=True))]
    told = [f"{name} {ms:.1f} ({ms / (peer / 8):.2f})" for name, ms in zip(("alone", *BATCHES), each, strict=True)]
    return f"ms an image: scikit-image {peer / 8:.1f}; ours and ratio {', in a batch of '.join(told)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--threads", default=1, type=int)
    parser.add_argument("--size", default=224, type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    images = {name: photograph(name, options.size) for name in PHOTOGRAPHS}
    stacked = torch.from_numpy(np.stack(list(images.values()))).permute(0, 3, 1, 2).contiguous().to(options.device)
    print(f"{options.size} x {options.size} pixels, {options.device}, {options.threads} threads")
    print(f"{'n_segments':>10} {'photograph':18} {'ours':>5} {'theirs':>6} {'recall of theirs':>17} {'of ours':>8}")
    for n_segments in (10, 50, 200):
        recalls = []
        for (name, image), ours in zip(
            images.items(), slic(stacked, n_segments, **SETTINGS).cpu().numpy(), strict=True
        ):
            theirs = slic_skimage(image, n_segments, start_label=0, **SETTINGS)
            recalls.append((boundary_recall(ours, theirs), boundary_recall(theirs, ours)))
            print(
                f"{n_segments:10} {name:18} {ours.max() + 1:5} {theirs.max() + 1:6} "
                f"{recalls[-1][0]:17.3f} {recalls[-1][1]:8.3f}"
            )
        mean = np.mean(recalls, axis=0)
        print(f"{n_segments:10} {'mean':18} {'':5} {'':6} {mean[0]:17.3f} {mean[1]:8.3f}")
        print(f"{'':10} {compare_times(list(images.values()), stacked, n_segments)}\n")


if __name__ == "__main__":
    main()
