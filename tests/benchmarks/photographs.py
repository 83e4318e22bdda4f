"""Explains photographs side by side with alibi: same network, segments, seeds and threads, in one run.

    python tests/benchmarks/photographs.py --peer-python PEER/bin/python

PEER is an environment of its own with ``pip install alibi timm torch torchvision`` (alibi needs numpy < 2); without it
only this package is measured. Each explanation is made by both, one after the other, several times; medians are shown.
True precision is counted over all masks of the photograph, so it has no error of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

THREADS = 2
PHOTOGRAPHS = ("coffee", "camera", "chelsea")

PEER = """
import json, sys, time, warnings
import numpy as np, torch
warnings.filterwarnings("ignore")
torch.set_num_threads(int(sys.argv[2]))
from alibi.explainers import AnchorImage
module = torch.load(sys.argv[1], weights_only=False).eval()
calls = []
def predict(images):
    calls.append(len(images))
    rows = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        return module((rows.contiguous(memory_format=torch.channels_last) - 127) / 128).numpy()
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    image = np.load(job["image"]).astype(np.float32)
    segments = np.load(job["segments"])
    calls.clear()
    np.random.seed(job["seed"])
    explainer = AnchorImage(predict, image.shape, segmentation_fn=lambda _: segments, seed=job["seed"])
    started = time.perf_counter()
    found = explainer.explain(image)
    seconds = time.perf_counter() - started
    anchor = [int(k) for k in found.raw["feature"]]
    print(json.dumps({"seconds": seconds, "rows": sum(calls), "calls": len(calls), "anchor": anchor,
                      "precision": float(np.ravel(found.precision)[0])}), flush=True)
"""


class Peer:
    """alibi in its own environment, explaining one photograph at a time."""

    def __init__(self, python: str, module: torch.nn.Module, folder: Path) -> None:
        torch.save(module, folder / "module.pt")
        self._process = subprocess.Popen(
            [python, "-c", PEER, str(folder / "module.pt"), str(THREADS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def _line(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("The peer ended; run its environment's python by hand to see why.")
        return line

    def explain(self, image: Path, segments: Path, seed: int) -> dict:
        job = {"image": str(image), "segments": str(segments), "seed": seed}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())


class Forward:
    """Adds up the time inside the module's forward passes."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.seconds = 0.0
        module.register_forward_pre_hook(self._enter)
        module.register_forward_hook(self._leave)

    def _enter(self, *_: object) -> None:
        self.seconds -= time.perf_counter()

    def _leave(self, *_: object) -> None:
        self.seconds += time.perf_counter()


def ours(model, forward: Forward, image: np.ndarray, segments: np.ndarray, seed: int, method: str, explainers: dict):
    from torch_anchors import AnchorImage

    key = (seed, segments.tobytes())
    if key not in explainers:  # a user makes one explainer, and its batch size stays found
        explainers[key] = AnchorImage(
            model.module, preprocess=model.preprocess, segmentation_fn=segments, seed=seed, max_rows=explainers["rows"]
        )
    before = forward.seconds
    started = time.perf_counter()
    found = explainers[key].explain(image, method=method)
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "rows": found.n_rows,
        "calls": found.n_calls,
        "anchor": list(found.features),
        "precision": found.precision,
        "overhead": seconds / (forward.seconds - before),
    }


def true_precisions(model, image: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Precision of every anchor (2^K,), by predicting every mask."""
    from torch_anchors import AnchorImageSampler, Predictor
    from torch_anchors.perturb.protocol import Order
    from torch_anchors.search.exact import superset_precisions
    from torch_anchors.search.protocol import EnumerateRequest

    predictor = Predictor(model.module, preprocess=model.preprocess)
    sampler = AnchorImageSampler(predictor, segments, True, image, dtype=torch.uint8, segments=segments)
    (codes,) = sampler.draw([Order(EnumerateRequest(()), np.random.default_rng(0))])
    with predictor.session():
        labels = torch.cat([predictor(sampler.render(part)) for part in codes.split(8)])
    return superset_precisions((labels == labels[-1]).numpy().astype(float))


def table(rows: list[dict]) -> None:
    columns = ("photograph", "K", "by", "seconds", "rows", "calls", "anchor", "reported", "true", "overhead")
    print("  ".join(f"{name:>10}" for name in columns))
    for row in rows:
        print("  ".join(f"{row.get(name, ''):>10}" for name in columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="python of an environment that has alibi")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--n-segments", type=int, nargs="+", default=[10, 15])
    parser.add_argument("--methods", nargs="+", default=["auto", "beam"])
    parser.add_argument("--max-rows", default="auto", type=lambda text: text if text == "auto" else int(text))
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    from skimage import data

    from torch_anchors.images.segmentation import segment
    from torch_anchors.models import load_image_model

    model = load_image_model()
    model.module.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = Peer(arguments.peer_python, model.module, folder) if arguments.peer_python else None
        forward, rows = Forward(model.module), []
        for n_segments in arguments.n_segments:
            for photograph in PHOTOGRAPHS:
                image = model.fit(getattr(data, photograph)())
                segments = segment(image, "slic", {"n_segments": n_segments})
                truth = true_precisions(model, image, segments)
                np.save(folder / "image.npy", image)
                np.save(folder / "segments.npy", segments)
                explainers: dict = {"rows": arguments.max_rows}
                results: dict[str, list[dict]] = {}
                for seed in range(arguments.repeats):
                    if peer is not None:
                        found = peer.explain(folder / "image.npy", folder / "segments.npy", seed)
                        results.setdefault("alibi", []).append(found)
                    for method in arguments.methods:
                        found = ours(model, forward, image, segments, seed, method, explainers)
                        results.setdefault(method, []).append(found)
                for by, found in results.items():
                    true = [truth[sum(1 << k for k in one["anchor"])] for one in found]
                    middle = lambda key, found=found: statistics.median(one[key] for one in found)  # noqa: E731
                    rows.append(
                        {
                            "photograph": photograph,
                            "K": int(segments.max()) + 1,
                            "by": by,
                            "seconds": f"{middle('seconds'):.2f}",
                            "rows": f"{middle('rows'):.0f}",
                            "calls": f"{middle('calls'):.0f}",
                            "anchor": "/".join(str(len(one["anchor"])) for one in found),
                            "reported": f"{middle('precision'):.3f}",
                            "true": f"{min(true):.3f}",
                            "overhead": f"{middle('overhead'):.3f}" if by != "alibi" else "",
                        }
                    )
                print(f"{photograph}, {n_segments} segments: done", file=sys.stderr)
        table(rows)
        print(
            "\nseconds, rows, calls, reported precision: medians; anchor: sizes by seed; true: the lowest precision of"
        )
        print("the returned anchors over all masks; overhead: whole explanation over its own forward passes.")


if __name__ == "__main__":
    main()
