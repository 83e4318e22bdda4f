"""A round on a GPU that is not there: no mix of devices, nothing that waits for a value, one copy back.

Fake tensors have a device, a type and a shape and no values. An operation that needs a value (`.item()`, `nonzero`,
a boolean index, `bool(tensor)`) raises on them, and so does one whose tensors are on different devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from tests.engine.cases import SearchCase, case_of, run, runner_of
from tests.kernels import Launches
from torch_anchors.engine import counting, runner
from torch_anchors.engine.comparison import compared
from torch_anchors.engine.forward_pass import ForwardPass
from torch_anchors.engine.labels import labels_of
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.max_rows import MaxRows
from torch_anchors.engine.outputs import Outputs
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.runner import Runner
from torch_anchors.images.fills import FillFunction, mean, resolve_fill
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.beam import beam_search
from torch_anchors.search.exact import exact_search
from torch_anchors.search.protocol import (
    EnumerateRequest,
    GroupedRequest,
    SampleRequest,
    Search,
    SearchConfig,
    SearchResult,
    Status,
)
from torch_anchors.tables.column_sampler import ColumnSampler
from torch_anchors.targets.classes import Bit, NearestText, TopK
from torch_anchors.targets.regions import MaskOverlap, SameObject
from torch_anchors.targets.target import Comparison, Labelling
from torch_anchors.targets.values import Between, Within

CUDA = torch.device("cuda", 0)
SEGMENTS = np.arange(48).reshape(6, 8) // 8


class RealHost(TorchDispatchMode):
    """Lets the host's own tensors have values, above a mode that fakes everything."""

    def __init__(self, device: FakeTensorMode) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        fake = any(isinstance(leaf, FakeTensor) or leaf in (CUDA, torch.device("cuda")) for leaf in leaves)
        if not fake and not kwargs.get("pin_memory"):
            with _disable_current_modes():
                return func(*args, **kwargs)
        args, kwargs = tree_map_only(Tensor, self.faked, (args, kwargs))
        return func(*args, **kwargs)

    def faked(self, tensor: Tensor) -> Tensor:
        return tensor if isinstance(tensor, FakeTensor) else self.device.from_tensor(tensor)


@pytest.fixture
def gpu() -> Iterator[None]:
    """Operations on device "cuda" work on fake tensors; those on the host work as always."""
    with FakeTensorMode() as device, RealHost(device):
        yield


class CopiesToHost(TorchDispatchMode):
    """Counts the copies from the device to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("_to_copy", "copy_") and isinstance(out, Tensor) and out.device.type == "cpu":
            source = args[1] if name == "copy_" else args[0]
            if source.device.type == "cuda":
                self.found[name] += 1
        return out


def network() -> nn.Module:
    with CUDA:
        layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]
    return nn.Sequential(*layers)


def sampler_on_gpu(fill: FillFunction = mean, **settings: Any) -> ImageSampler:
    image = torch.from_numpy(np.random.default_rng(0).random((3, 6, 8), dtype=np.float32))
    return ImageSampler(image, SEGMENTS, fill, device=CUDA, **settings)


def backgrounds(image: Tensor, segments: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.stack([image * 0.5, image * 0.0, 1 - image])


def test_the_fake_device_complains_about_what_it_should(gpu: None) -> None:
    rows = torch.ones(3, device=CUDA)
    with pytest.raises(DataDependentOutputException):
        rows.sum().item()
    with pytest.raises(Exception, match=r"nonzero|data-dependent|Dynamic"):
        rows[rows > 0]
    with pytest.raises(Exception, match="device"):
        rows + torch.ones(3)
    with CopiesToHost() as copies:
        rows.cpu()
    assert copies.found["_to_copy"] == 1


@pytest.mark.parametrize("fill", ["mean", "blur", "infill", "noise", 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_preparing_and_rendering_stay_on_the_device(
    fill: Any, dtype: torch.dtype, channels_last: bool, gpu: None
) -> None:
    with CopiesToHost() as copies:
        sampler = sampler_on_gpu(resolve_fill(fill), dtype=dtype, channels_last=channels_last)
        orders = [SampleRequest((1,), 9), EnumerateRequest((0, 2)), GroupedRequest((0, 0, 1, 1, 2), 7)]
        for codes in sampler.draw([Order(request, np.random.default_rng(0)) for request in orders]):
            assert codes.device.type == "cpu"
            rows = sampler.render(codes)
            again = sampler.render(codes, sampler.empty(len(codes)))
            for rendered in (rows, again):
                assert rendered.device == CUDA
                assert rendered.dtype == dtype
                assert rendered.shape == (len(codes), 3, 6, 8)
                assert rendered.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert not copies.found


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.parametrize("output", ["logits", "logit", "tuple", "mapping", "labels"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_labels_stay_on_the_device(output: str, autocast: torch.dtype | None, gpu: None) -> None:
    wrap = {
        "logits": lambda scores: scores,
        "logit": lambda scores: scores[:, :1],
        "tuple": lambda scores: (scores, None),
        "mapping": lambda scores: {"logits": scores},
        "labels": lambda scores: scores.argmax(1),
    }[output]

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, rows: Tensor) -> Any:
            return wrap(self.inner(rows))

    predictor = Predictor(Wrapped(), autocast=autocast, preprocess=lambda rows: rows / 255)
    assert predictor.device == CUDA
    assert predictor.static_shapes
    with CopiesToHost() as copies:
        labels = predictor(torch.zeros(7, 3, 6, 8, dtype=torch.uint8, device=CUDA))
    assert (labels.device, labels.dtype, labels.shape) == (CUDA, torch.int64, (7,))
    assert not copies.found


DETECTED = {"boxes": torch.rand(5, 4), "labels": torch.ones(5, dtype=torch.int64), "scores": torch.rand(5)}


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        (TopK(2), (8, 5)),
        (Within(1.0), (8, 1)),
        (MaskOverlap(), (8, 3, 4, 4)),
        (MaskOverlap(label=1), (8, 3, 4, 4)),
        (SameObject(), ()),
    ],
)
def test_answers_are_compared_on_the_device_which_is_not_waited_for(
    target: Comparison, shape: tuple[int, ...], gpu: None
) -> None:
    on_gpu = {name: value.to(CUDA) for name, value in DETECTED.items()}
    output = torch.rand(shape, device=CUDA) if shape else [on_gpu] * 8
    with CopiesToHost() as copies:
        answers = target.answers(output, 8, CUDA)
        explained = target.explained(answers[:1])
        reading = compared(answers, explained.expand(8, *explained.shape[1:]), target)
    assert not copies.found
    assert (reading.labels.device, reading.labels.shape) == (CUDA, (8,))


@pytest.mark.parametrize("target", [Bit(1), Between(0, 1), NearestText([[1.0, 2.0], [3.0, 4.0]])])
def test_labels_by_a_target_are_made_on_the_device(target: Labelling, gpu: None) -> None:
    columns = 1 if isinstance(target, Between) else 2
    labels = Outputs(CUDA, target, may_wait=False).labels(torch.rand(8, columns, device=CUDA), 8)
    assert (labels.device, labels.shape) == (CUDA, (8,))


def test_a_ledger_grows_on_the_device(gpu: None) -> None:
    ledger = Ledger(CUDA, capacity=16)
    with CopiesToHost() as copies:
        for _ in range(20):
            first = ledger.reserve(9, oldest=max(ledger.n_reserved - 30, 0))
            ledger.write(torch.zeros(9, dtype=torch.int64, device=CUDA))
            found = ledger.labels[torch.from_numpy(ledger.places(np.arange(first, first + 9))).to(CUDA)]
    assert found.device == CUDA
    assert not copies.found


def test_rows_of_a_table_are_replaced_and_compared_on_the_device(gpu: None) -> None:
    rows = torch.zeros(20, 6, dtype=torch.float64, device=CUDA)
    with CopiesToHost() as copies:
        sampler = ColumnSampler(np.zeros(6), rows, to_model=lambda values: values + 1, fixed=(1,))
        (codes,) = sampler.draw([Order(SampleRequest((2,), 9), np.random.default_rng(0))])
        rendered, n_changes = sampler.render(codes, sampler.empty(9)), sampler.n_changes(codes)
    assert codes.device.type == "cpu"
    assert (rendered.device, rendered.dtype, n_changes.device, n_changes.shape) == (CUDA, torch.float32, CUDA, (9,))
    assert not copies.found


def test_labels_of_a_table_stay_on_the_device(gpu: None) -> None:
    with CUDA:
        model = nn.Linear(6, 3)
    codes = torch.zeros(70, 6, device=CUDA)
    with CopiesToHost() as copies:
        labels = labels_of(Predictor(model), lambda part: part + 1, codes, MaxRows(32))
    assert (labels.device, labels.dtype, labels.shape) == (CUDA, torch.int64, (70,))
    assert not copies.found


class Event:
    """Stands in for a CUDA event, which needs a driver."""

    log: list[str]

    def record(self) -> None:
        self.log.append("record")

    def synchronize(self) -> None:
        self.log.append("wait")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened to the events, in order. Numbers read back are those of a device on which no row is a hit."""
    log: list[str] = []
    monkeypatch.setattr(Event, "log", log, raising=False)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    deliver = counting.Answers.deliver

    def delivered(answers: counting.Answers) -> None:
        copy = answers._bytes._copy
        assert copy.device.type == "cpu"
        log.append("deliver")
        with _disable_current_modes():
            answers._bytes._copy = torch.zeros(tuple(copy.shape), dtype=copy.dtype)
        deliver(answers)

    monkeypatch.setattr(counting.Answers, "deliver", delivered)
    return log


def cases_on_gpu(n: int) -> list[SearchCase]:
    cases = []
    for i in range(n):
        sampler = sampler_on_gpu(backgrounds if i % 3 == 2 else mean)
        search = beam_search(sampler.space(), SearchConfig(round_rows=24, min_samples_start=24, enumerate_below=4))
        if i % 4 == 3:
            sampler = sampler_on_gpu(hides=True, fixed=(0,), exclude=(2,))
            search = exact_search(sampler.space(), SearchConfig())
        cases.append(case_of(search, sampler, number=i, label=[None, 2][i % 2], changes=sampler.hides))
    return cases


@pytest.mark.parametrize(("max_rows", "answers_first"), [(32, False), (200, False), (32, True)])
def test_whole_searches_run_with_one_copy_for_each_answer(
    max_rows: int, answers_first: bool, gpu: None, events: list[str]
) -> None:
    """Draw, render, predict, write and count for several cases, to the end of their searches."""
    model = network().train()
    cases = cases_on_gpu(4)
    with CopiesToHost() as copies:
        finished = run(runner_of(model, max_rows, answers_first=answers_first), cases)
    assert len(finished) == 4
    assert all(one.found.result.n_hits == 0 for one in finished)
    n_answers = events.count("deliver")
    assert n_answers == events.count("record") == events.count("wait")
    assert sum(copies.found.values()) == copies.found["copy_"] == n_answers > 6
    assert all(module.training for module in model.modules())


def test_a_batch_is_sent_before_the_answers_of_the_one_before_are_awaited(
    gpu: None, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of batches there are two under way at most; answers from memory, which come with none, do not count."""
    under_way: list[int] = []
    launch = Runner._launch

    def launched(runner: Runner) -> None:
        launch(runner)
        under_way.append(runner._n_under_way())

    monkeypatch.setattr(Runner, "_launch", launched)
    finished = run(runner_of(network(), 32), cases_on_gpu(5))
    assert len(finished) == 5
    assert set(under_way) == {1, 2}
    steps = [event for event in events if event in ("record", "wait")]
    in_flight = np.cumsum([1 if step == "record" else -1 for step in steps])
    assert (in_flight.min(), in_flight[-1]) == (0, 0)
    assert in_flight.max() >= 2


def test_an_answer_is_read_only_after_its_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers are in pinned memory that the device writes to until the event has passed."""
    log: list[str] = []
    monkeypatch.setattr(Event, "log", log, raising=False)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    with FakeTensorMode(allow_non_fake_inputs=True):
        answers = counting.count(Ledger(CUDA), [])
        assert answers._bytes._copy.device.type == "cpu"
    assert log == ["record"]

    class Late(Tensor):
        def numpy(self, *, force: bool = False) -> np.ndarray:
            log.append("read")
            return np.zeros(0, dtype=np.uint8)

    answers._bytes._copy = torch.zeros(0).as_subclass(Late)
    answers.deliver()
    assert log == ["record", "wait", "read"]


# ------------------------------------------------------------------------------------------------ kernels of a batch


class Labels(nn.Module):
    """The network, as one that returns labels."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, rows: Tensor) -> Tensor:
        return self.inner(rows).argmax(1)


def asking(n_rounds: int) -> Search:
    """A search of small rounds, for one anchor after the other."""
    for i in range(n_rounds):
        yield (SampleRequest((i % 3,), 8),)
    return SearchResult((0,), 1.0, (0.0, 1.0), 1.0, Status.CERTIFIED, 0, 0)


def kernels_of_batches(
    cases: Sequence[SearchCase], model: nn.Module, monkeypatch: pytest.MonkeyPatch, max_rows: int
) -> list[Counter[str]]:
    """What a device does for each batch, by step, until the answers to it are on their way."""
    launches, found = Launches(), []
    for owner, name in [
        (ForwardPass, "_render"),
        (Predictor, "forward"),
        (Outputs, "read"),
        (Runner, "_write"),
        (runner, "count"),
    ]:
        monkeypatch.setattr(owner, name, launches.within(name.strip("_"), getattr(owner, name)))
    launch = Runner._launch

    def launched(self: Runner) -> None:
        before = launches.by_step()
        launch(self)
        self._answer()
        found.append(launches.by_step() - before)

    monkeypatch.setattr(Runner, "_launch", launched)
    predictor = Predictor(model, check_repeats=False)
    with launches:
        run(runner_of(predictor, max_rows), cases)
    return found


MOST_KERNELS = 25
"""Of a batch, outside the model: what a host can start while a fast network computes."""


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.parametrize(
    ("model", "label", "changes", "most"),
    [
        (Labels, None, False, 14),
        (Labels, 2, True, 18),
        (network, None, False, 23),
        (network, 2, False, MOST_KERNELS),
        (network, None, True, MOST_KERNELS + 1),  # of "necessary", whose rows without a label must be told apart
    ],
)
def test_a_batch_is_some_kernels_whatever_the_number_of_images(
    model: Callable[[], nn.Module],
    label: int | None,
    changes: bool,
    most: int,
    gpu: None,
    events: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rendering, reading, margins, counting and the copy back, when searches are under way."""
    for n in (1, 8, 64):
        with monkeypatch.context() as patch:
            asked = {"label": label, "changes": changes}
            cases = [case_of(asking(4), sampler_on_gpu(hides=changes), number=i, **asked) for i in range(n)]
            found = kernels_of_batches(cases, model(), patch, max_rows=9 * n)
        steps = {"render", "read", "write", "count"}
        sums = [sum(kernels[step] for step in steps) for kernels in found]
        assert max(sums[1:]) <= most
        if n > 1:
            assert max(sums[1:]) == most  # the figure is no guess
        assert sums[0] <= most + 3  # buffers are made, and the first labels told


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.parametrize("settings", [{}, {"fixed": (0, 3)}, {"hides": True}])
def test_images_are_rendered_by_a_few_kernels_whatever_their_number(
    settings: dict[str, Any], gpu: None, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, expected in [(1, 3), (2, 7), (8, 7), (64, 7)]:
        with monkeypatch.context() as patch:
            cases = [case_of(asking(4), sampler_on_gpu(**settings), number=i) for i in range(n)]
            found = kernels_of_batches(cases, Labels(), patch, max_rows=9 * n)
        assert found[0]["render"] == expected + 1  # the buffer is cleared once
        assert max(kernels["render"] for kernels in found[1:]) == expected  # a last batch may have one image's rows
