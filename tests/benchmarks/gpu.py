"""What a GPU makes of it: rows and explanations a second, and how much of the time is the network's own.

    python tests/benchmarks/gpu.py

There is nothing to set. On a machine with a GPU it explains 64 crops of photographs, 224 x 224, by ResNet-50, ViT-B/16
and EfficientNet-Lite0, in single precision, in bfloat16, and compiled; on one without, 2 small crops by a small
network, so that the script itself stays right. Weights are random where they would have to be downloaded, as they cost
the same.

What a network says would decide how many rows are needed. So each is wrapped: it does all its work, and then the label
is whether three patches are shown, which is a search of some hundred rows for each photograph.

    rows/s, expl/s   rows sent to the network, and explanations, in a second of wall time; the median of three runs
    forward          share of that time which forward passes alone of as many batches take
    idle             share in which the device ran no kernel, by PyTorch's profiler, in a run of its own
    host us/row      CPU time of the process for each row. A host that waits for a GPU may be counted as busy
    MiB              the most memory that was allocated on the device
    captum           rows a second of captum's FeatureAblation on the same photographs and superpixels, in batches of
                     the same size, if captum is installed
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skimage import data
from torch import Tensor, nn

from torch_anchors import AnchorImage

N_REPEATS = 3
SEGMENTS = 36


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: side of the crops, how many, and rows of a batch."""

    side: int
    n_images: int
    max_rows: int


ON_GPU, ON_CPU = Size(224, 64, 256), Size(32, 2, 32)


class Planted(nn.Module):
    """A network that does all its work, and says whether three patches of its input are shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor) -> Tensor:
        side = rows.shape[-1]
        patch = side // 16
        places = ((0, 0), (side // 2, side // 2), (side - patch, 0))
        shown = [(rows[:, :, y : y + patch, x : x + patch].abs().amax((1, 2, 3)) > 0).float() for y, x in places]
        margin = torch.stack(shown).sum(0) - 2.5
        return torch.stack([-margin, margin], dim=1) + 1e-12 * self.network(rows).float().sum(1, keepdim=True)


class Small(nn.Module):
    """A network that a CPU has no trouble with."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, rows: Tensor) -> Tensor:
        scores: Tensor = self.layers(rows)
        return scores


def networks(device: torch.device) -> dict[str, Callable[[], nn.Module]]:
    """What is measured on the device, by its name."""
    if device.type == "cpu":
        return {"small": Small}
    from torchvision.models import resnet50, vit_b_16

    from torch_anchors.models import load_image_model

    return {
        "ResNet-50": lambda: resnet50(weights=None),
        "ViT-B/16": lambda: vit_b_16(weights=None),
        "EffNet-Lite0": lambda: load_image_model("efficientnet-lite0").module,
    }


@dataclass(frozen=True, slots=True)
class Variant:
    """How a network is run."""

    name: str
    autocast: torch.dtype | None = None
    compiled: bool = False

    def model(self, network: nn.Module, device: torch.device) -> nn.Module:
        model: Any = Planted(network).to(device).eval()
        return torch.compile(model) if self.compiled else model


def variants(device: torch.device) -> list[Variant]:
    """Single precision, bfloat16, and compiled where there is a GPU."""
    all_ = [Variant("fp32"), Variant("bf16", torch.bfloat16), Variant("compiled", torch.bfloat16, compiled=True)]
    return all_ if device.type == "cuda" else all_[:2]


def crops(size: Size) -> list[Tensor]:
    """Crops (3, side, side) of photographs that come with scikit-image, in [0, 1] and nowhere 0."""
    rng = np.random.default_rng(0)
    photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    found = []
    for i in range(size.n_images):
        pixels = photographs[i % len(photographs)]
        y, x = (int(rng.integers(pixels.shape[axis] - size.side + 1)) for axis in (0, 1))
        crop = pixels[y : y + size.side, x : x + size.side]
        found.append(torch.from_numpy(crop.copy()).permute(2, 0, 1).float() / 255 + 0.01)
    return found


@dataclass(frozen=True, slots=True)
class Measured:
    """A line of the table, in seconds, rows and bytes; see the module."""

    seconds: float
    host_seconds: float
    n_rows: int
    n_calls: int
    forward_seconds: float
    idle: float | None
    memory: int | None
    captum_rows_per_second: float | None


def measured(network: nn.Module, variant: Variant, device: torch.device, size: Size) -> Measured:
    """Explains all crops, after a few that warm up."""
    sizes: list[int] = []
    model = variant.model(network, device)
    explainer = AnchorImage(
        model,
        segmentation_fn="grid",
        segmentation_kwargs={"rows": 6, "cols": 6},
        fill=0.0,
        seed=0,
        device=device,
        max_rows=size.max_rows,
        autocast=variant.autocast,
    )
    model.register_forward_hook(lambda module, rows, scores: sizes.append(len(rows[0])))
    images = crops(size)
    explainer.explain_batch(images[:4])
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    runs = []
    for _ in range(N_REPEATS):
        sizes.clear()
        started, host_started = time.perf_counter(), time.process_time()
        explained = explainer.explain_batch(images)
        runs.append((time.perf_counter() - started, time.process_time() - host_started))
    batches = list(sizes)
    return Measured(
        *(statistics.median(times) for times in zip(*runs, strict=True)),
        n_rows=sum(one.n_rows for one in explained),
        n_calls=len(batches),
        forward_seconds=_forward_seconds(model, variant, batches, images[0].to(device)),
        idle=_idle(lambda: explainer.explain_batch(images)) if device.type == "cuda" else None,
        memory=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        captum_rows_per_second=_captum(model, variant, images, size, device),
    )


def _forward_seconds(model: nn.Module, variant: Variant, batches: list[int], image: Tensor) -> float:
    """Forward passes alone of batches of the same sizes."""
    rows = image.expand(max(batches), *image.shape).contiguous()
    with torch.inference_mode(), torch.autocast(image.device.type, variant.autocast, variant.autocast is not None):
        model(rows)
        _synchronize(image.device)
        started = time.perf_counter()
        for n in batches:
            model(rows[:n])
        _synchronize(image.device)
    return time.perf_counter() - started


def _idle(work: Callable[[], Any]) -> float:
    """Share of the time in which the device ran no kernel."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        started = time.perf_counter()
        work()
        _synchronize(torch.device("cuda"))
        seconds = time.perf_counter() - started
    busy = sum(event.self_device_time_total for event in profiler.key_averages())  # microseconds, on one stream
    return max(1 - busy / 1e6 / seconds, 0.0)


def _captum(model: nn.Module, variant: Variant, images: list[Tensor], size: Size, device: torch.device) -> float | None:
    """Rows a second of captum's ablation of the same superpixels."""
    try:
        from captum.attr import FeatureAblation
    except ImportError:
        return None
    cells = torch.arange(SEGMENTS).reshape(6, 6).repeat_interleave(-(-size.side // 6), 0)
    cells = cells.repeat_interleave(-(-size.side // 6), 1)[: size.side, : size.side].to(device)
    method, n_rows = FeatureAblation(model), 0
    with torch.inference_mode(), torch.autocast(device.type, variant.autocast, variant.autocast is not None):
        _synchronize(device)
        started = time.perf_counter()
        for image in images:
            rows = image[None].to(device)
            method.attribute(rows, target=1, feature_mask=cells[None, None], perturbations_per_eval=size.max_rows)
            n_rows += SEGMENTS + 1
        _synchronize(device)
    return n_rows / (time.perf_counter() - started)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def line(name: str, variant: Variant, found: Measured, n_images: int) -> str:
    """A line of the table; "-" for what cannot be known here."""
    idle = "-" if found.idle is None else f"{found.idle:.1%}"
    memory = "-" if found.memory is None else f"{found.memory / 2**20:,.0f}"
    captum = "-" if found.captum_rows_per_second is None else f"{found.captum_rows_per_second:,.0f}"
    return (
        f"{name:<14}{variant.name:<10}{found.n_rows:>9,}{found.n_rows / found.seconds:>10,.0f}"
        f"{n_images / found.seconds:>9.2f}{found.forward_seconds / found.seconds:>9.1%}{idle:>8}"
        f"{1e6 * found.host_seconds / found.n_rows:>13.1f}{memory:>8}{captum:>9}"
    )


HEADING = (
    f"{'network':<14}{'':<10}{'rows':>9}{'rows/s':>10}{'expl/s':>9}{'forward':>9}{'idle':>8}{'host us/row':>13}"
    f"{'MiB':>8}{'captum':>9}"
)


def table(device: torch.device, size: Size) -> Iterator[str]:
    """The lines of the whole table."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU, which shows that the script works"
    yield f"{size.n_images} crops of {size.side} x {size.side}, batches of {size.max_rows}, on {name}"
    yield HEADING
    for network, make in networks(device).items():
        for variant in variants(device):
            yield line(network, variant, measured(make(), variant, device, size), size.n_images)


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for text in table(device, ON_GPU if device.type == "cuda" else ON_CPU):
        print(text, flush=True)


if __name__ == "__main__":
    main()
