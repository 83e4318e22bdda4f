"""Many searches on one model: what they are told, what the model is sent, and what does not matter."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from torch_anchors.engine.batch_size import BatchSize
from torch_anchors.engine.job import Job
from torch_anchors.engine.predictor import INVALID, Predictor
from torch_anchors.engine.runner import Runner
from torch_anchors.errors import PredictorCallError
from torch_anchors.perturb.image import AnchorImageSampler
from torch_anchors.perturb.masks import holds, unpack
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.beam import beam_search
from torch_anchors.search.exact import exact_search
from torch_anchors.search.protocol import (
    EnumeratedHits,
    EnumerateRequest,
    Reply,
    Request,
    SampleCounts,
    SampleRequest,
    Search,
    SearchConfig,
    SearchResult,
    Status,
)

K = 9


# A picture of one pixel per superpixel, 1 where it is shown and 0 or -1, -2, ... where it is not: the model reads
# the mask and the background off the row.
def sampler_of(n_superpixels: int = K, n_backgrounds: int = 1, height: int = 1) -> AnchorImageSampler:
    shape = (n_backgrounds, 1, height, n_superpixels)
    fill = -torch.arange(n_backgrounds, dtype=torch.float32)[:, None, None, None].expand(shape)
    return AnchorImageSampler(
        None,
        np.arange(n_superpixels)[None].repeat(height, 0),
        True,
        np.ones((height, n_superpixels), dtype=np.float32),
        fill=lambda image, segments: fill,
    )


def parity(rows: Tensor) -> Tensor:
    """A label that depends on every pixel of the row, in an arithmetic without rounding."""
    weights = torch.arange(1, rows.shape[1:].numel() + 1, device=rows.device)
    return (rows.flatten(1).long() * weights).sum(1) % 3


def first_three(rows: Tensor) -> Tensor:
    """1 while superpixels 0, 1 and 2 are shown."""
    return (rows[:, 0, 0, :3] == 1).all(1).long()


class Recorder:
    """A model that keeps what it was sent."""

    def __init__(self, model: Callable[[Tensor], Tensor] = parity) -> None:
        self.model = model
        self.rows: list[tuple[float, ...]] = []
        self.sizes: list[int] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self.sizes.append(rows.shape[0])
        self.rows += map(tuple, rows.flatten(1).tolist())
        return self.model(rows)


def runner_of(model: Callable[[Tensor], Tensor], max_rows: int | str = 64, **settings: Any) -> Runner:
    return Runner(Predictor(model), BatchSize(max_rows), **settings)


def scripted(rounds: Sequence[tuple[Request, ...]], replies: list[Reply], anchor: tuple[int, ...] = ()) -> Search:
    """A search that asks what it was told to ask and writes the replies down."""
    for requests in rounds:
        replies += yield requests
    return SearchResult(anchor, 1.0, (0.0, 1.0), 1.0, Status.CERTIFIED, 0, 0)


def wandering(n_superpixels: int, number: int, n_rounds: int = 6) -> Search:
    """A search without a goal, whose every request depends on the replies before it."""
    anchor, found = (), 0
    for turn in range(n_rounds):
        replies = yield (SampleRequest(anchor, 10 + 3 * (number % 7)), SampleRequest((turn % n_superpixels,), turn))
        best = int(np.argmax(replies[0].child_hits / np.maximum(replies[0].child_n, 1)))
        found = 31 * found + sum(31 * reply.n_hits + reply.pool_hits for reply in replies)
        anchor = tuple(sorted({*anchor, best, found % n_superpixels}))[-3:]
    (reply,) = yield (EnumerateRequest(tuple(range(n_superpixels - 3))),)
    return SearchResult(anchor, float(reply.hits.mean()), (0.0, 1.0), 1.0, Status.NOT_FOUND, found, 0)


def job_of(number: int, sampler: AnchorImageSampler | None = None, n_rounds: int = 6, **settings: Any) -> Job:
    sampler = sampler or sampler_of()
    search = wandering(sampler.n_superpixels, number, n_rounds)
    return Job(search, sampler, np.random.default_rng(number), tag=number, **settings)


def outcome(job: Job) -> tuple[Any, ...]:
    """All that an explanation is made of."""
    result, examples = job.found
    return (
        job.tag,
        result,
        job.explained_label,
        job.n_rows,
        examples.codes.tolist(),
        examples.labels.tolist(),
        examples.hits.tolist(),
    )


def outcomes(runner: Runner, jobs: Sequence[Job]) -> list[tuple[Any, ...]]:
    return sorted(map(outcome, runner.run(jobs)), key=lambda found: found[0])


# ------------------------------------------------------------------------------------------------------- replies

ROUNDS: list[tuple[Request, ...]] = [
    (SampleRequest((), 40),),
    (SampleRequest((1,), 30), SampleRequest((1, 4), 20), SampleRequest((), 10)),
    (SampleRequest((1, 4), 0),),
    (EnumerateRequest((0, 1, 2, 3, 4)), SampleRequest((7,), 25)),
    (EnumerateRequest((0, 1, 2, 3, 4)),),
    (SampleRequest(tuple(range(K)), 12),),
]


@pytest.mark.parametrize("n_backgrounds", [1, 3])
@pytest.mark.parametrize("max_rows", [5, 64])
@pytest.mark.parametrize("label", [None, 0, 1])
def test_replies_are_what_a_loop_over_all_rows_counts(n_backgrounds: int, max_rows: int, label: int | None) -> None:
    """The requests of a script, drawn again from the same random stream and counted one row after the other."""
    sampler, replies, model = sampler_of(n_backgrounds=n_backgrounds), [], Recorder()
    job = Job(scripted(ROUNDS, replies), sampler, np.random.default_rng(7), label=label)
    list(runner_of(model, max_rows).run([job]))

    rng, target = np.random.default_rng(7), label
    if label is None:
        target = int(parity(sampler.render(sampler.instance_code())))
    seen = set() if label is not None else {sampler.instance_code().numpy().tobytes()}
    pool: list[tuple[set[int], np.ndarray, bool]] = []
    expected = iter(replies)
    for requests in ROUNDS:
        for request, codes in zip(requests, sampler.draw([Order(r, rng) for r in requests]), strict=True):
            reply = next(expected)
            hits = (parity(sampler.render(codes)) == target).tolist()
            keys = {row.tobytes() for row in codes.numpy()}
            assert reply.n_new == len(keys - seen)
            seen |= keys
            keep = sampler.keep(codes).numpy()
            if isinstance(request, EnumerateRequest):
                assert isinstance(reply, EnumeratedHits)
                assert reply.hits.tolist() == np.reshape(hits, (-1, n_backgrounds)).mean(1).tolist()
                continue
            pool += [(set(request.anchor), row, hit) for row, hit in zip(keep, hits, strict=True)]
            members = set(request.anchor)
            counted = [(r, h) for a, r, h in pool if a <= members and all(r[k] for k in members)]
            assert isinstance(reply, SampleCounts)
            assert (reply.n, reply.n_hits) == (request.n, sum(hits))
            assert (reply.pool_n, reply.pool_hits) == (len(counted), sum(h for _, h in counted))
            assert reply.child_n.tolist() == [sum(bool(r[k]) for r, _ in counted) for k in range(K)]
            assert reply.child_hits.tolist() == [sum(bool(r[k]) and h for r, h in counted) for k in range(K)]
    assert next(expected, None) is None
    assert job.n_rows == len(seen) == len(model.rows) == len(set(model.rows))
    assert job.explained_label == target


@pytest.mark.parametrize("n_backgrounds", [1, 4])
def test_no_row_of_a_job_is_predicted_twice(n_backgrounds: int) -> None:
    model = Recorder()
    sampler = sampler_of(n_backgrounds=n_backgrounds)
    job = Job(beam_search(sampler.space(), SearchConfig(max_rows_candidate=300)), sampler, np.random.default_rng(0))
    list(runner_of(model, 7).run([job]))
    assert job.n_rows > 100
    assert max(Counter(model.rows).values()) == 1
    assert len(model.rows) == job.n_rows <= 2**K * n_backgrounds
    assert job.n_calls == len(model.sizes)


def test_jobs_do_not_share_rows_even_of_equal_images() -> None:
    model = Recorder()
    first, second = runner_of(model).run([job_of(3), job_of(3)])
    assert first.n_rows == second.n_rows
    assert set(Counter(model.rows).values()) == {2}
    assert outcome(first) == outcome(second)


def test_an_exact_search_sends_every_mask_once_and_finds_the_planted_anchor() -> None:
    model, sampler = Recorder(first_three), sampler_of()
    search = exact_search(sampler.space(), SearchConfig())
    (job,) = runner_of(model, 50).run([Job(search, sampler, np.random.default_rng(0))])
    assert job.found[0].anchor == (0, 1, 2)
    assert job.found[0].precision == 1.0
    assert len(model.rows) == len(set(model.rows)) == 2**K


def test_examples_are_rows_of_the_anchor_with_the_models_labels() -> None:
    sampler = sampler_of()
    jobs = list(runner_of(parity).run([job_of(i, sampler, n_examples=4) for i in range(8)]))
    for job in jobs:
        result, examples = job.found
        codes = torch.from_numpy(examples.codes)
        assert holds(examples.codes, result.anchor, K).all()
        assert parity(sampler.render(codes)).tolist() == examples.labels.tolist()
        assert (examples.labels == job.explained_label).tolist() == examples.hits.tolist()
        assert 1 <= examples.hits.sum() <= 4
        assert (~examples.hits).sum() <= 4
        assert len(np.unique(examples.codes, axis=0)) == len(codes)


def test_an_instance_without_a_label_never_agrees() -> None:
    replies: list[Reply] = []
    job = Job(scripted([(SampleRequest((), 50),)], replies), sampler_of(), np.random.default_rng(0))
    list(runner_of(lambda rows: torch.full((len(rows), 2), torch.nan)).run([job]))
    assert replies[0].n_hits == 0
    assert replies[0].pool_hits == 0
    assert job.explained_label == INVALID


def test_a_given_label_needs_no_row_of_the_instance() -> None:
    model, replies = Recorder(first_three), []
    job = Job(scripted([(SampleRequest((0,), 20),)], replies), sampler_of(), np.random.default_rng(1), label=0)
    list(runner_of(model).run([job]))
    (codes,) = sampler_of().draw([Order(SampleRequest((0,), 20), np.random.default_rng(1))])
    keep = unpack(codes, K)
    assert replies[0].n_hits == 20 - int(keep[:, :3].all(1).sum())
    assert len(model.rows) == replies[0].n_new == len(codes.unique(dim=0))


# ------------------------------------------------------------------------------------------------------- invariances


@pytest.fixture(scope="module")
def alone() -> list[tuple[Any, ...]]:
    """Each job on a runner of its own."""
    return [outcomes(runner_of(parity), [job])[0] for job in mixed_jobs()]


def mixed_jobs() -> list[Job]:
    """Jobs of several kinds on images of three sizes."""
    jobs = []
    for number in range(8):
        sampler = sampler_of(5 + number % 3, n_backgrounds=1 + number % 2, height=1 + number % 2)
        config = SearchConfig(max_rows_candidate=100, min_samples_start=50)
        search = [
            wandering(sampler.n_superpixels, number),
            beam_search(sampler.space(), config),
            wandering(sampler.n_superpixels, number),
            exact_search(sampler.space(), config),
        ][number % 4]
        label = [None, None, 1][number % 3]
        jobs.append(Job(search, sampler, np.random.default_rng(number), label=label, tag=number))
    return jobs


@pytest.mark.parametrize("max_rows", [1, 7, 64, "auto"])
def test_batched_with_others_is_as_alone(max_rows: int | str, alone: list[tuple[Any, ...]]) -> None:
    assert outcomes(runner_of(parity, max_rows), mixed_jobs()) == alone


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_jobs_does_not_matter(seed: int, alone: list[tuple[Any, ...]]) -> None:
    jobs = mixed_jobs()
    np.random.default_rng(seed).shuffle(jobs)
    assert outcomes(runner_of(parity, 16), jobs) == alone


@pytest.mark.parametrize(("max_active", "max_ahead"), [(1, 4), (5, 1), (3, 4)])
def test_how_many_are_under_way_does_not_matter(max_active: int, max_ahead: int, alone: list[tuple[Any, ...]]) -> None:
    assert outcomes(runner_of(parity, 16, max_active=max_active, max_ahead=max_ahead), mixed_jobs()) == alone


@pytest.mark.parametrize(("depth", "max_rows"), [(2, 4), (2, 32), (3, 16)])
def test_batches_under_way_at_the_same_time_do_not_matter(
    depth: int, max_rows: int, alone: list[tuple[Any, ...]]
) -> None:
    runner = runner_of(parity, max_rows)
    runner._depth = depth
    assert outcomes(runner, mixed_jobs()) == alone


def test_preprocess_may_bring_all_images_to_one_size() -> None:
    def resize(rows: Tensor) -> Tensor:
        return nn.functional.pad(rows, (0, 12 - rows.shape[3], 0, 2 - rows.shape[2]))

    def predictor(model: Callable[[Tensor], Tensor]) -> Predictor:
        return Predictor(model, preprocess=resize)

    alone = [outcomes(Runner(predictor(parity), BatchSize(64)), [job])[0] for job in mixed_jobs()]
    model = Recorder()
    runner = Runner(predictor(model), BatchSize(64))
    assert outcomes(runner, mixed_jobs()) == alone
    assert len(model.sizes) == runner.load.n_calls  # one forward pass for all sizes of a batch
    assert sum(model.sizes) == runner.load.n_rows


# ------------------------------------------------------------------------------------------------------- memory


class Smaller:
    """A model whose device takes at most `most` rows."""

    def __init__(self, most: int, error: Callable[[], Exception]) -> None:
        self.most, self.error, self.n_failures = most, error, 0

    def __call__(self, rows: Tensor) -> Tensor:
        if rows.shape[0] > self.most:
            self.n_failures += 1
            raise self.error()
        return parity(rows)


@pytest.mark.parametrize(
    ("most", "error"),
    [
        (1, MemoryError),
        (5, lambda: torch.OutOfMemoryError("CUDA out of memory.")),
        (20, lambda: RuntimeError("can't allocate memory")),
    ],
)
def test_running_out_of_memory_loses_nothing(
    most: int, error: Callable[[], Exception], alone: list[tuple[Any, ...]]
) -> None:
    model = Smaller(most, error)
    runner = runner_of(model, 64)
    assert outcomes(runner, mixed_jobs()) == alone
    assert 1 <= model.n_failures <= 6
    assert most / 2 < runner.batch_size.n <= most
    assert runner.load.n_rows == sum(found[3] for found in alone)


def test_memory_for_not_even_one_row_is_an_error() -> None:
    with pytest.raises(PredictorCallError, match="not enough memory for a forward pass of one single row") as caught:
        list(runner_of(Smaller(0, MemoryError)).run(mixed_jobs()))
    assert isinstance(caught.value.__cause__, MemoryError)


def test_jobs_are_read_no_further_ahead_than_batches_need() -> None:
    n_read = 0

    def jobs() -> Iterator[Job]:
        nonlocal n_read
        for number in range(80):
            n_read += 1
            yield job_of(number, n_rounds=2)

    n_done, ahead = 0, []
    for _ in runner_of(parity, 64).run(jobs()):
        n_done += 1
        ahead.append(n_read - n_done)
    assert n_done == 80
    assert max(ahead) <= 20  # a job asks for 10 to 30 rows at a time


def test_enumerations_are_not_read_far_ahead() -> None:
    """An exact search asks once, for many rows."""
    n_read = 0

    def jobs() -> Iterator[Job]:
        nonlocal n_read
        for number in range(60):
            n_read += 1
            sampler = sampler_of()
            search = exact_search(sampler.space(), SearchConfig())
            yield Job(search, sampler, np.random.default_rng(number))

    ahead = []
    for n_done, _ in enumerate(runner_of(parity, 64).run(jobs()), start=1):
        ahead.append(n_read - n_done)
    assert max(ahead) <= 2


@pytest.mark.parametrize(("max_active", "max_ahead"), [(3, 100), (100, 3)])
def test_jobs_under_way_are_bounded(max_active: int, max_ahead: int) -> None:
    runner = runner_of(parity, 1000, max_active=max_active, max_ahead=max_ahead)
    unfinished: set[int] = set()
    spans: list[int] = []

    def jobs() -> Iterator[Job]:
        for number in range(30):
            unfinished.add(number)
            spans.append(number - min(unfinished))
            assert len(unfinished) <= max_active
            yield job_of(number, n_rounds=1 + number % 4)

    for job in runner.run(jobs()):
        unfinished.discard(job.tag)
    assert max(spans) < max_ahead


def test_the_ledger_and_finished_jobs_keep_no_rows() -> None:
    """Memory follows the jobs under way."""

    def jobs() -> Iterator[Job]:
        for number in range(60):
            search = scripted([(SampleRequest((), 250),), (SampleRequest((1,), 50),)], [])
            yield Job(search, sampler_of(16), np.random.default_rng(number))

    runner, sizes, finished = runner_of(parity, 256), [], []
    for job in runner.run(jobs()):
        sizes.append(runner._ledger.labels.shape[0])
        finished.append(weakref.ref(job.sampler))
        assert not job.memory.blocks
        assert not job.memory.slot_of
        assert not job.asks
    assert runner._ledger.n_written > 10_000
    assert max(sizes) == 4096
    del job
    gc.collect()
    assert sum(ref() is not None for ref in finished) == 0


def test_images_of_many_sizes_do_not_pile_up_in_memory() -> None:
    runner = runner_of(parity, 64)
    largest = 0
    for job in runner.run(job_of(n, sampler_of(5 + n), n_rounds=1) for n in range(40)):
        held = {buffer.untyped_storage().data_ptr(): buffer.nbytes for buffer in tensors_in(runner._batches)}
        largest = max(largest, sum(held.values()))
        assert job.result is not None
    assert largest <= 4 * 64 * 4 * 45  # a few batches of the largest image


def tensors_in(owner: object) -> list[Tensor]:
    """Tensors that an object holds, directly or in a dictionary."""
    values = list(vars(owner).values())
    values += [item for value in values if isinstance(value, dict) for item in value.values()]
    return [value for value in values if isinstance(value, Tensor)]


# ------------------------------------------------------------------------------------------------------- batches


def test_batches_are_full_until_the_last_wave() -> None:
    model = Recorder()
    runner = runner_of(model, 48)
    list(runner.run(job_of(number, n_rounds=4) for number in range(40)))
    assert runner.load.n_rows == len(model.rows)
    assert runner.load.n_calls == len(model.sizes)
    early = model.sizes[: int(0.8 * len(model.sizes))]
    assert np.mean(early) >= 0.9 * 48
    assert max(model.sizes) <= 48
    assert runner.load.fill == pytest.approx(len(model.rows) / (48 * len(model.sizes)))


def test_a_runner_without_work_is_full() -> None:
    runner = runner_of(parity)
    assert list(runner.run([])) == []
    assert runner.load.fill == 1.0


class Static(nn.Module):
    """A module that looks compiled, and remembers the shapes and values it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self._orig_mod = None
        self.shapes: list[tuple[int, ...]] = []
        self.values: set[float] = set()

    def forward(self, rows: Tensor) -> Tensor:
        self.shapes.append(tuple(rows.shape))
        self.values |= set(rows.unique().tolist())
        return parity(rows)


@pytest.mark.parametrize("sizes", [(K,), (5, 6, 7)])
def test_a_compiled_module_sees_few_shapes_and_only_valid_values(sizes: tuple[int, ...]) -> None:
    model = Static()
    jobs, again = ([job_of(n, sampler_of(sizes[n % len(sizes)])) for n in range(9)] for _ in range(2))
    runner = runner_of(model, 32)
    found = outcomes(runner, jobs)
    assert {shape[0] for shape in model.shapes} <= {4, 8, 16, 32}
    assert model.values <= {0.0, 1.0}
    assert found == outcomes(runner_of(parity, 32), again)
    assert runner.load.n_rows == sum(job[3] for job in found)


def test_a_compiled_module_is_compiled_once_per_shape() -> None:
    shapes: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        shapes.append(tuple(inputs[-1].shape))
        return graph.forward

    class Sum(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return parity(rows)

    jobs = [job_of(number) for number in range(8)]
    compiled = torch.compile(Sum(), backend=backend, dynamic=False)
    found = outcomes(runner_of(compiled, 16), jobs)
    assert 1 <= len(shapes) <= 4
    assert found == outcomes(runner_of(parity, 16), [job_of(number) for number in range(8)])


# ------------------------------------------------------------------------------------------------------- interruption


def failing_after(n_calls: int, error: BaseException) -> Callable[[Tensor], Tensor]:
    left = iter(range(n_calls))

    def model(rows: Tensor) -> Tensor:
        if next(left, None) is None:
            raise error
        return parity(rows)

    return model


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_jobs_finished_before_a_failure_have_been_yielded(error: BaseException) -> None:
    done: list[Job] = []
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else PredictorCallError
    jobs = runner_of(failing_after(30, error), 32).run(job_of(n, n_rounds=3) for n in range(60))
    with pytest.raises(expected):
        done.extend(iter(jobs))
    assert 1 <= len(done) < 60
    assert all(job.result is not None for job in done)


class Mode(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Dropout(0.5)

    def forward(self, rows: Tensor) -> Tensor:
        assert not self.training
        assert not self.inner.training
        return parity(rows)


def test_between_two_jobs_and_after_closing_nothing_stays_changed() -> None:
    model = Mode()
    jobs = runner_of(model, 8).run(job_of(n) for n in range(20))
    for _ in range(3):
        next(jobs)
        assert model.training
        assert model.inner.training
        assert not torch.is_inference_mode_enabled()
    jobs.close()
    assert model.training
    assert model.inner.training


def test_two_runs_may_be_interleaved() -> None:
    model = Mode()
    a, b = (runner_of(model, 8).run([job_of(n) for n in range(6)]) for _ in range(2))
    found = [[], []]
    for one, two in zip(a, b, strict=True):
        found[0].append(outcome(one))
        found[1].append(outcome(two))
        assert model.training
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_an_error_of_a_search_is_not_hidden() -> None:
    def broken() -> Search:
        yield (SampleRequest((), 5),)
        raise ZeroDivisionError

    model = Mode()
    with pytest.raises(ZeroDivisionError):
        list(runner_of(model).run([Job(broken(), sampler_of(), np.random.default_rng(0))]))
    assert model.training


# ------------------------------------------------------------------------------------------------------- waiting


class Waits(TorchDispatchMode):
    """Counts the operations that would make the host wait for the device."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "repeat_interleave")

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if any(waiting in name for waiting in self.names) and not (kwargs or {}).get("output_size"):
            self.found[str(func)] += 1
        if name in ("index", "index_put_") and any(t is not None and t.dtype == torch.bool for t in args[1]):
            self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


def test_no_operation_of_a_round_asks_the_device_for_a_value() -> None:
    jobs = mixed_jobs()
    with Waits() as waits:
        finished = list(runner_of(parity, 16).run(jobs))
    assert len(finished) == len(jobs)
    assert not waits.found
    with Waits() as waits:
        torch.ones(3)[torch.tensor([True, False, True])].sum().item()
    assert sum(waits.found.values()) == 2


def test_masks_of_a_job_are_those_of_its_own_stream() -> None:
    """What is drawn depends on the job's generator alone: the first round, drawn again by hand."""
    model, sampler = Recorder(), sampler_of()
    job = Job(scripted([(SampleRequest((2,), 30),)], []), sampler, np.random.default_rng(3), label=0)
    list(runner_of(model).run([job]))
    (codes,) = sampler.draw([Order(SampleRequest((2,), 30), np.random.default_rng(3))])
    assert set(model.rows) == {tuple(row) for row in unpack(codes, K).float().tolist()}
