"""Superpixels within superpixels beside flat ones of the same size: area, rows, seconds, and true precision.

    python tests/benchmarks/hierarchy.py [--peer-python PYTHON]

PYTHON is that of an environment of its own with ``pip install rex-xai torch``, whose minimal sufficient explanations
are then beside ours, of the same network, on the CPU.

Explains EfficientNet-Lite0 on photographs of scikit-image, on one thread. Each answer is asked three things: how often
it keeps the label while superpixels outside it are hidden by chance, each showing its mean colour: those of its own
segmentation, which is what its certificate is about, and the finest of the hierarchy; and whether it does while
everything outside it is grey, which no certificate promises.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch import Tensor

from torch_anchors import AnchorImage
from torch_anchors.images.pixels import to_chw
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.images.segmentation import segment
from torch_anchors.models import load_image_model
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import SampleRequest

PHOTOGRAPHS = (
    *("coffee", "chelsea", "astronaut", "rocket", "camera", "clock"),
    *("hubble_deep_field", "motorcycle", "brick", "grass", "coins", "retina"),
)
N_ROWS = 500
"""Fresh rows of each true precision."""
GREY = 127.0
"""The pixel that is 0 after the network's normalisation."""

PEER = """
import sys, time, types
import numpy as np, torch
torch.set_num_threads(1)
from rex_xai.explanation.rex import explanation
from rex_xai.input.config import CausalArgs
from rex_xai.input.input_data import Data
from rex_xai.responsibility.prediction import from_pytorch_tensor
module, pixels, out, seed, iters = torch.jit.load(sys.argv[1]), np.load(sys.argv[2]), *sys.argv[3:6]
n_rows = 0
def predict(mutants, target=None, raw=False, binary_threshold=None):
    global n_rows
    n_rows += len(mutants)
    with torch.inference_mode():
        scores = torch.cat([module(part) for part in mutants.float().split(32)])
    return scores.softmax(1) if raw else from_pytorch_tensor(scores, target=target)
def preprocess(path, shape, device):
    found = Data(pixels, shape, device, mode="RGB", process=True)
    found.data = (torch.from_numpy(pixels).float()[None] - 127) / 128
    return found
args = CausalArgs()
args.path, args.seed, args.gpu, args.progress_bar, args.batch_size = sys.argv[2], int(seed), False, False, 32
args.iters = int(iters)
args.script = types.SimpleNamespace(prediction_function=predict, model_shape=["N", 3, 224, 224], preprocess=preprocess)
started = time.process_time()
found = explanation(args, "cpu")
seconds = time.process_time() - started
mask = torch.as_tensor(found.sufficiency_mask).float().numpy().reshape(-1, 224, 224).max(0) > 0
np.savez(out, shown=mask, rows=n_rows, seconds=seconds)
"""
"""What ReX does in its own environment; it hides by `GREY`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Which pixels an explanation shows (H, W), of which superpixels (H, W), what it took, and what is said of it."""

    shown: NDArray[np.bool_]
    segments: NDArray[np.integer]
    n_rows: int
    seconds: float
    claimed: float = float("nan")
    status: str = ""


class Frozen:
    """A network in half the time: its normalisations folded into the weights."""

    def __init__(self) -> None:
        model = load_image_model("efficientnet-lite0")
        self.fit = model.fit
        self.script = torch.jit.freeze(torch.jit.trace(model.module, torch.zeros(32, 3, 224, 224)))

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Logits of pixels 0..255 (N, 3, 224, 224)."""
        return torch.cat([self.script((part.float() - GREY) / 128) for part in pixels.split(32)])


def photograph(name: str, network: Frozen) -> NDArray[np.uint8]:
    """The photograph as the network sees it, (224, 224, 3)."""
    image = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    image = image.astype(np.uint8) * 255 if image.dtype == bool else image
    image = np.stack([image] * 3, axis=-1) if image.ndim == 2 else image[..., :3]
    return network.fit(image)


def anchor(
    network: Frozen, pixels: NDArray[np.uint8], given: argparse.Namespace, name: str, **settings: object
) -> Answer:
    """An anchor of ours."""
    explainer = AnchorImage(
        lambda rows: network(rows),
        preprocess=lambda rows: rows,
        seed=given.seed,
        segmentation_fn=name,
        max_rows=32,
        **settings,
    )
    started = time.process_time()
    found = explainer.explain(pixels, max_rows_total=given.max_rows)
    seconds = time.process_time() - started
    shown = np.isin(found.segments, found.features)
    return Answer(shown, found.segments, found.n_rows, seconds, found.precision, found.status.name.lower())


def rex(python: str, network: Frozen, pixels: NDArray[np.uint8], given: argparse.Namespace) -> Answer:
    """ReX's minimal sufficient pixels; it has no superpixels of its own, so that the hierarchy's stand in."""
    with tempfile.TemporaryDirectory() as folder:
        module, image, out = (str(Path(folder) / name) for name in ("net.pt", "image.npy", "out.npz"))
        network.script.save(module)
        np.save(image, pixels.transpose(2, 0, 1))
        settings = [module, image, out, str(given.seed), str(given.rex_iters)]
        subprocess.run([python, "-W", "ignore", "-c", PEER, *settings], check=True, stderr=subprocess.PIPE)
        with np.load(out) as found:
            segments = segment(pixels, "hierarchy")
            return Answer(found["shown"], segments, int(found["rows"]), float(found["seconds"]))


def true_precision(
    network: Frozen, pixels: NDArray[np.uint8], shown: NDArray[np.bool_], segments: NDArray[np.integer]
) -> float:
    """How often the label is kept while superpixels outside what is shown are hidden by chance."""
    image = to_chw(pixels)
    sampler = ImageSampler(image, segments)
    (codes,) = sampler.draw([Order(SampleRequest((), N_ROWS), np.random.default_rng(99))])
    kept, label = torch.from_numpy(shown), network(image[None]).argmax(1)
    rows = (torch.where(kept, image, sampler.render(part)) for part in codes.split(32))
    return float(torch.cat([network(part.round()).argmax(1) == label for part in rows]).float().mean())


def keeps_alone(network: Frozen, pixels: NDArray[np.uint8], shown: NDArray[np.bool_]) -> bool:
    """Whether the label is kept while everything outside what is shown is grey."""
    image = to_chw(pixels)
    alone = torch.where(torch.from_numpy(shown), image, torch.tensor(GREY))
    return bool(network(image[None]).argmax(1) == network(alone[None]).argmax(1))


def answers(network: Frozen, pixels: NDArray[np.uint8], given: argparse.Namespace) -> Iterator[tuple[str, Answer]]:
    """Each way to explain a photograph, by its name."""
    n = int(segment(pixels, "hierarchy").max()) + 1
    flat = {"n_segments": n, "compactness": 30}
    yield "hierarchy", anchor(network, pixels, given, "hierarchy")
    if not given.no_flat:
        yield "flat", anchor(network, pixels, given, "slic", segmentation_kwargs=flat)
    yield "slic 10", anchor(network, pixels, given, "slic")
    if given.peer_python:
        try:
            yield "ReX", rex(given.peer_python, network, pixels, given)
        except subprocess.CalledProcessError as error:
            print(f"ReX found nothing: {error.stderr.decode().strip().splitlines()[-1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", nargs="+", default=PHOTOGRAPHS, help="names in skimage.data (default: 12)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-flat", action="store_true", help="leave out the slowest, flat superpixels of the same size"
    )
    parser.add_argument("--max-rows", type=int, help="of each of our searches, which then may find nothing")
    parser.add_argument("--peer-python", help="Python of an environment with rex-xai")
    parser.add_argument("--rex-iters", type=int, default=20, help="iterations of ReX (default: 20, its own)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    network = Frozen()
    columns = f"{'area':>7}{'rows':>7}{'CPU s':>7}{'claimed':>9}{'own':>7}{'finest':>8}{'masked':>8}  status"
    print(f"{'photograph':<18}{'by':<11}{columns}")
    for name in given.photographs:
        pixels = photograph(name, network)
        for by, answer in answers(network, pixels, given):
            own = true_precision(network, pixels, answer.shown, answer.segments)
            finest = true_precision(network, pixels, answer.shown, segment(pixels, "hierarchy"))
            alone = "kept" if keeps_alone(network, pixels, answer.shown) else "lost"
            print(
                f"{name:<18}{by:<11}{answer.shown.mean():>7.3f}{answer.n_rows:>7}{answer.seconds:>7.1f}"
                f"{answer.claimed:>9.3f}{own:>7.3f}{finest:>8.3f}{alone:>8}  {answer.status}",
                flush=True,
            )
    print("\narea: share of the picture shown. claimed: certified precision. own, finest: true precision while other")
    print(f"superpixels, its own or the hierarchy's, are hidden ({N_ROWS} rows). masked: the label, all else grey.")


if __name__ == "__main__":
    main()
