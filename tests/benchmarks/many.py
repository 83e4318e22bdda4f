"""What explaining many images costs beside the model, in one run.

    python tests/benchmarks/many.py [--peer-python PEER/bin/python] [--only share trivial batch flat sizes]

share    time of the forward passes alone, for as many rows at the best batch size, over the whole explanation's time
trivial  rows a second with a model that costs almost nothing
batch    16 photographs in one batch, one by one, and by alibi one by one (with --peer-python, see photographs.py)
same     32 images alone, together, in another order and in other batches: whether all explanations are equal
compiled a torch.compiled and an autocast network: rows a second, and shapes compiled
flat     peak memory and batch fill with 10, 100 and 1,000 images queued
sizes    rows, rounds and controller time as superpixels, image size and number of images grow

Times are medians of several runs, taken in turn. `--device` measures on a GPU.

On Linux the C library gives large blocks back to the system as soon as they are free, and a forward pass on a CPU then
spends half its time on getting them again; how large a half depends on what ran before. All processes here, alibi's as
well, are told to keep them (`ALLOCATOR`), unless the environment says otherwise.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "1073741824", "MALLOC_MMAP_THRESHOLD_": "1073741824"}
PHOTOGRAPHS = ("coffee", "camera", "chelsea", "astronaut", "rocket", "coins", "moon", "horse")


def photographs(n: int, fit: Callable[[Any], np.ndarray]) -> list[np.ndarray]:
    """`n` bundled photographs and crops of them, at the model's input size."""
    from skimage import data, util

    images: list[np.ndarray] = []
    for name in PHOTOGRAPHS:
        try:
            whole = util.img_as_ubyte(getattr(data, name)())
        except (OSError, RuntimeError, ModuleNotFoundError):  # not bundled with this version
            continue
        height, width = whole.shape[:2]
        cut = min(height, width) * 3 // 4
        images += [whole, whole[:cut, :cut], whole[-cut:, -cut:], whole[:cut, -cut:]]
    # Whole photographs first, then the crops.
    images = images[::4] + [image for i, image in enumerate(images) if i % 4]
    return [fit(image) for image in images[:n]]


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


@contextmanager
def timed(module: torch.nn.Module) -> Iterator[list[float]]:
    """The seconds of each forward pass, as they come; on a GPU only those of its launch."""
    starts, spent = [], []
    hooks = (
        module.register_forward_pre_hook(lambda *_: starts.append(time.perf_counter())),
        module.register_forward_hook(lambda *_: spent.append(time.perf_counter() - starts[-1])),
    )
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def share(model: Any, images: list[np.ndarray], options: argparse.Namespace) -> None:
    """Pure-forward share of 16 photographs with a real network."""
    from torch_anchors import AnchorImage

    heading("share: forward passes alone / whole explanation, EfficientNet-Lite0")
    rows = model.preprocess(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(options.device))
    rows = rows.contiguous(memory_format=torch.channels_last)
    sizes = (2, 4, 8, 16) if options.device == "cpu" else (64, 128, 256, 512)

    def forward(size: int, n_rows: int) -> None:
        batch = rows[torch.arange(size) % len(rows)].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            for _ in range(-(-n_rows // size)):
                model.module(batch).argmax(1)[:1].cpu()

    explainer = AnchorImage(model.module, preprocess=model.preprocess, seed=0, max_rows=options.max_rows)
    explainer.explain_batch(images[:2], method=options.method)  # settles the batch size
    shares, inside = [], []
    for _ in range(options.repeats):
        with timed(model.module) as spent:
            started = time.perf_counter()
            found = explainer.explain_batch(images, method=options.method)
            whole = time.perf_counter() - started
        inside.append(sum(spent) / whole)
        n_rows = sum(one.n_rows for one in found)
        alone = {size: median_seconds(partial(forward, size, n_rows), 1) for size in sizes}
        best = min(alone, key=lambda size: alone[size])
        shares.append(alone[best] / whole)
        print(f"  {n_rows} rows: whole {whole:.2f} s, forward alone {alone[best]:.2f} s at {best} a pass, ", end="")
        print(f"share {shares[-1]:.3f} (batches of {explainer._batch_size.n})", flush=True)
    print(f"median share {statistics.median(shares):.3f}; ", end="")
    print(f"of the forward passes inside the explanations themselves {statistics.median(inside):.3f} (on a CPU)")


class Trivial(torch.nn.Module):
    """One 1x1 convolution and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 2, 1).to(memory_format=torch.channels_last)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.convolution(rows).mean((2, 3))


def trivial(_: Any, images: list[np.ndarray], options: argparse.Namespace) -> None:
    """Rows a second when the model costs almost nothing."""
    from torch_anchors import AnchorImage

    heading("trivial: rows a second at 224 x 224 with one 1x1 convolution (alibi's sampler: 3.2-3.5 ms a row)")
    torch.manual_seed(0)
    for layout in (torch.channels_last, torch.contiguous_format):
        module = Trivial().to(options.device, memory_format=layout).requires_grad_(False)
        floats = [image.astype(np.float32) / 255 for image in images]
        explainer = AnchorImage(module, seed=0, segmentation_kwargs={"n_segments": 15}, max_rows=options.max_rows)
        rates = []
        for _ in range(options.repeats + 1):
            started = time.perf_counter()
            found = explainer.explain_batch(floats, method="exact")
            rates.append(sum(one.n_rows for one in found) / (time.perf_counter() - started))
        rate = statistics.median(rates[1:])
        n_rows = sum(one.n_rows for one in found)
        print(f"  {layout!s:>24}: {rate:,.0f} rows/s = {1000 / rate:.3f} ms a row ({n_rows:,} rows, ", end="")
        print(
            f"batches of {explainer._batch_size.n}); alibi's 3.3 ms is {3.3 * rate / 1000:.0f} times that", flush=True
        )


def batch(model: Any, images: list[np.ndarray], options: argparse.Namespace) -> None:
    """16 photographs in one batch, one by one, and by the peer."""
    from photographs import Peer

    from torch_anchors import AnchorImage

    heading(f"batch: {len(images)} photographs, EfficientNet-Lite0, same network, segments and threads")
    explainer = AnchorImage(model.module, preprocess=model.preprocess, seed=0, max_rows=options.max_rows)
    explainer.explain_batch(images[:2], method=options.method)
    together, alone = [], []
    for _ in range(options.repeats):
        started = time.perf_counter()
        found = explainer.explain_batch(images, method=options.method)
        together.append(time.perf_counter() - started)
        started = time.perf_counter()
        ones = [explainer.explain(image, method=options.method) for image in images]
        alone.append(time.perf_counter() - started)
    line = "  {:>22}: {:8.2f} s, {:6d} rows, {:5d} calls"
    # A forward pass that two jobs shared is counted by both; the runner's own count is rows over batch size.
    rows = sum(one.n_rows for one in found)
    print(line.format("one batch", statistics.median(together), rows, -(-rows // explainer._batch_size.n)))
    print(line.format("one by one", statistics.median(alone), rows, sum(one.n_calls for one in ones)), flush=True)
    assert [one.features for one in found] == [one.features for one in ones]
    if options.peer_python:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            peer = Peer(options.peer_python, model.module, folder)
            results = []
            for image in images:
                np.save(folder / "image.npy", image)
                np.save(folder / "segments.npy", explainer.generate_superpixels(image))
                results.append(peer.explain(folder / "image.npy", folder / "segments.npy", 0))
        seconds, rows, calls = (sum(one[key] for one in results) for key in ("seconds", "rows", "calls"))
        print(line.format("alibi, one by one", seconds, rows, calls))
        print(f"  one batch takes {statistics.median(together) / seconds:.3f} of alibi's time")


def same(model: Any, images: list[np.ndarray], options: argparse.Namespace) -> None:
    """32 images in whatever company, bit for bit."""
    from torch_anchors import AnchorImage

    images = photographs(32, model.fit)
    images += [np.ascontiguousarray(image[:, ::-1]) for image in images[: 32 - len(images)]]
    heading(f"same: {len(images)} images, EfficientNet-Lite0")

    def facts(found: Any) -> list[str]:
        hidden = ("seconds", "n_calls", "meta")
        return [str({k: v for k, v in one.to_dict().items() if k not in hidden}) for one in found]

    def explained(order: Any, max_rows: Any) -> list[str]:
        explainer = AnchorImage(model.module, preprocess=model.preprocess, seed=0, max_rows=max_rows)
        found = facts(explainer.explain_batch([images[i] for i in order], method="beam"))
        return [found[list(order).index(i)] for i in range(len(images))]

    explainer = AnchorImage(model.module, preprocess=model.preprocess, seed=0, max_rows=4)
    alone = facts(explainer.explain(image, method="beam") for image in images)
    shuffled = np.random.default_rng(0).permutation(len(images))
    for name, order, max_rows in (("together", range(len(images)), "auto"), ("in another order", shuffled, 7)):
        equal = sum(a == b for a, b in zip(alone, explained(order, max_rows), strict=True))
        print(f"  {name}, batches of {max_rows} rows: {equal} of {len(images)} as alone", flush=True)


def compiled(model: Any, images: list[np.ndarray], options: argparse.Namespace) -> None:
    """A network under torch.compile and under autocast."""
    from torch._dynamo.utils import counters

    from torch_anchors import AnchorImage

    heading(f"compiled: {len(images)} photographs, EfficientNet-Lite0")
    static = torch.compile(model.module, dynamic=False)
    kinds = (
        ("as it is", model.module, None),
        ("torch.compile", static, None),
        ("bfloat16", model.module, torch.bfloat16),
    )
    for name, module, autocast in kinds:
        explainer = AnchorImage(
            module, preprocess=model.preprocess, seed=0, max_rows=options.max_rows, autocast=autocast
        )
        before = counters["stats"]["unique_graphs"]
        explainer.explain_batch(images, method=options.method)
        n_compiled = counters["stats"]["unique_graphs"]
        started = time.perf_counter()
        rows = sum(one.n_rows for one in explainer.explain_batch(images, method=options.method))
        rate = rows / (time.perf_counter() - started)
        again = counters["stats"]["unique_graphs"] - n_compiled
        print(f"  {name:>14}: {rate:6.1f} rows/s, {rows} rows in batches of {explainer._batch_size.n}; ", end="")
        print(f"{n_compiled - before} graphs compiled at first, {again} later", flush=True)


FLAT = """
import resource, sys, numpy as np, torch
torch.set_num_threads(1)
from torch_anchors import AnchorImage
from torch_anchors.engine import runner
class Counted(runner.Runner):
    last = None
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Counted.last = self
import torch_anchors.images.anchor_image as image_module
image_module.Runner = Counted
rng = np.random.default_rng(0)
n = int(sys.argv[1])
images = (rng.random((96, 96, 3), dtype=np.float32) for _ in range(n))
weight = torch.randn(3 * 96 * 96, 2, generator=torch.Generator().manual_seed(0))
explainer = AnchorImage(
    lambda x: x.flatten(1) @ weight, dtype=torch.float32, seed=0, segmentation_fn="grid", max_rows=64
)
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(one.n_rows for one in explainer.explain_iter(images, method="beam"))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(n, rows, (peak - base) // 1024, f"{Counted.last.load.fill:.3f}", Counted.last.load.n_calls)
"""


def flat(_: Any, images: list[np.ndarray], options: argparse.Namespace) -> None:
    """Peak memory and batch fill as the queue grows; each in a process of its own."""
    heading("flat: images streamed through explain_iter (96 x 96, 16 superpixels, batches of 64)")
    for n in (10, 100, 1000):
        out = subprocess.run([sys.executable, "-c", FLAT, str(n)], capture_output=True, text=True, check=True).stdout
        n_images, rows, memory, fill, calls = out.split()
        print(
            f"  {n_images:>5} images: {rows:>7} rows in {calls:>6} calls, fill {fill}, peak memory +{memory} MiB",
            flush=True,
        )


def sizes(_: Any, images: list[np.ndarray], options: argparse.Namespace) -> None:
    """How rows, rounds and the time that is not the model's grow."""
    from torch_anchors import AnchorImage

    heading("sizes: planted models (label 1 where two superpixels are shown), 224 x 224 unless told")
    print(f"  {'K':>5} {'side':>5} {'images':>6} {'rows':>7} {'rounds':>7} {'ms beside the model / row':>26}")
    cases = (
        [(k, 224, 1) for k in (10, 50, 200, 700)] + [(50, s, 1) for s in (64, 448)] + [(50, 224, n) for n in (8, 32)]
    )
    for k, side, n in cases:
        columns = round(k**0.5)
        kwargs = {"rows": -(-k // columns), "cols": columns}
        spent = [0.0]

        def model(rows: torch.Tensor, side: int = side, spent: list[float] = spent) -> torch.Tensor:
            started = time.perf_counter()
            shown = (rows[:, 0, 2, 2] > 0) & (rows[:, 0, side - 3, side - 3] > 0)
            spent[0] += time.perf_counter() - started
            return shown.long()

        explainer = AnchorImage(
            model,
            seed=0,
            segmentation_fn="grid",
            segmentation_kwargs=kwargs,
            fill=0.0,
            max_rows=32,
            device=options.device,
        )
        batch = [torch.full((3, side, side), 1.0 + i) for i in range(n)]
        explainer.explain(batch[0])
        spent[0] = 0.0
        started = time.perf_counter()
        found = explainer.explain_batch(batch, method="beam")
        rest = time.perf_counter() - started - spent[0]
        rows = sum(one.n_rows for one in found)
        n_superpixels = found[0].n_superpixels
        rounds = statistics.mean(one.n_calls for one in found)
        print(f"  {n_superpixels:>5} {side:>5} {n:>6} {rows:>7} {rounds:>7.1f} {1000 * rest / rows:>26.3f}", flush=True)


def main() -> None:
    known = (share, trivial, batch, same, compiled, flat, sizes)
    sections = {section.__name__: section for section in known}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sections, default=list(sections))
    parser.add_argument("--peer-python", help="python of an environment that has alibi")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--max-rows", default="auto", type=lambda text: text if text == "auto" else int(text))
    options = parser.parse_args()
    if not ALLOCATOR.keys() & os.environ.keys():  # it is read when a process starts
        os.execve(sys.executable, sys.orig_argv, os.environ | ALLOCATOR)
    torch.set_num_threads(options.threads)
    from torch_anchors.models import load_image_model

    model = load_image_model(device=options.device)
    model.module.to(memory_format=torch.channels_last)
    images = photographs(options.images, model.fit)
    print(f"{len(images)} photographs, {options.threads} threads, torch {torch.__version__}, {options.device}")
    for name in options.only:
        sections[name](model, images, options)


if __name__ == "__main__":
    main()
