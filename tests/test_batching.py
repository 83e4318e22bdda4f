"""Seeds, order, interruption and reading ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from torch_anchors.batching import ahead, checked_seed, collected, in_order, instances_of, say, stream, version
from torch_anchors.engine.batch_size import BatchSize
from torch_anchors.engine.job import Job
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.runner import Runner
from torch_anchors.errors import ArgumentError
from torch_anchors.perturb.image import AnchorImageSampler
from torch_anchors.search.protocol import SampleRequest, Search, SearchResult, Status

# ------------------------------------------------------------------------------------------------------- seeds


def test_the_stream_of_an_instance_depends_on_seed_and_bytes_only() -> None:
    def draw(seed: int, *parts: bytes) -> list[float]:
        return stream(seed, *parts).random(4).tolist()

    assert draw(1, b"ab", b"c") == draw(1, b"ab", b"c")
    different = [
        draw(1, b"ab", b"c"),
        draw(2, b"ab", b"c"),
        draw(1, b"a", b"bc"),
        draw(1, b"abc"),
        draw(1, b"ab", b"d"),
    ]
    assert len({tuple(numbers) for numbers in different}) == 5


def test_seeds() -> None:
    assert checked_seed(7) == 7
    assert checked_seed(np.int64(7)) == 7
    assert type(checked_seed(np.int64(7))) is int
    assert checked_seed(None) != checked_seed(None)
    assert checked_seed(None) >= 0
    stream(checked_seed(None), b"")


def test_the_version_is_known() -> None:
    assert version()[0].isdigit() or version() == "unknown"


def test_a_line_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    say("round 1")
    assert capsys.readouterr() == ("", "round 1\n")


# ------------------------------------------------------------------------------------------------------- order


def jobs_of(lengths: list[int]) -> list[Job]:
    """Jobs of so many rounds each."""

    def search(n_rounds: int) -> Search:
        for _ in range(n_rounds):
            yield (SampleRequest((), 3),)
        return SearchResult((), 1.0, (0.0, 1.0), 1.0, Status.NOT_FOUND, 0, 0)

    sampler = AnchorImageSampler(None, np.arange(6)[None], True, np.ones((1, 6), dtype=np.float32), fill=0.0)
    return [Job(search(n), sampler, np.random.default_rng(i), tag=i) for i, n in enumerate(lengths)]


def runner() -> Runner:
    return Runner(Predictor(lambda rows: rows.flatten(1).sum(1).long()), BatchSize(8))


def test_explanations_come_in_the_order_of_their_jobs() -> None:
    finished: list[int] = []

    def explained(jobs: Sequence[Job]) -> list[int]:
        numbers = [job.tag[1] for job in jobs]
        finished.extend(numbers)
        return numbers

    found = list(in_order(runner(), jobs_of([9, 1, 2, 1, 12, 1, 1]), explained))
    assert found == list(range(7))
    assert finished != found  # they were not finished in that order


def test_the_bar_shows_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    list(in_order(runner(), jobs_of([1] * 5), lambda jobs: [0] * len(jobs), progress=True, total=5, unit="row"))
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "rows/s" in shown
    list(in_order(runner(), jobs_of([1] * 5), lambda jobs: [0] * len(jobs)))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_what_was_finished_behind_an_unfinished_one_is_on_the_exception(error: BaseException) -> None:
    def explained(jobs: Sequence[Job]) -> Iterator[int]:
        for job in jobs:
            if job.tag[1] == 0:
                raise error
            yield job.tag[1]

    with pytest.raises(type(error)) as caught:
        collected(in_order(runner(), jobs_of([9, 1, 2, 1]), explained))
    assert caught.value.finished == []
    assert caught.value.finished_later == {1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_what_was_collected_is_on_the_exception(error: BaseException) -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise error

    with pytest.raises(type(error)) as caught:
        collected(broken())
    assert caught.value is error
    assert caught.value.finished == [1, 2]
    assert collected(iter([3, 4])) == [3, 4]


# ------------------------------------------------------------------------------------------------------- reading ahead


@pytest.mark.parametrize("n_workers", [0, 1, 4])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_items_are_prepared_in_their_order(n_workers: int, chunk: int) -> None:
    def prepare(items: list[int]) -> list[int]:
        assert 1 <= len(items) <= chunk
        time.sleep(0.001 * (items[0] % 3))
        return [10 * item for item in items]

    assert list(ahead(range(20), prepare, chunk=chunk, n_workers=n_workers)) == [10 * i for i in range(20)]
    assert list(ahead([], prepare, chunk=chunk, n_workers=n_workers)) == []


@pytest.mark.parametrize(("n_workers", "most"), [(0, 1), (2, 4)])
def test_items_are_read_in_the_callers_thread_and_only_so_far_ahead(n_workers: int, most: int) -> None:
    read: list[int] = []
    readers, workers = set(), set()

    def items() -> Iterator[int]:
        for i in range(50):
            readers.add(threading.get_ident())
            read.append(i)
            yield i

    def prepare(chunk: list[int]) -> list[int]:
        workers.add(threading.get_ident())
        return chunk

    prepared = ahead(items(), prepare, chunk=1, n_workers=n_workers)
    assert not read
    for n, _ in enumerate(prepared, start=1):
        assert len(read) <= n - 1 + most
    assert readers == {threading.get_ident()}
    assert (threading.get_ident() in workers) is (n_workers == 0)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_an_error_of_a_worker_arrives_at_its_place(n_workers: int) -> None:
    def prepare(items: list[int]) -> list[int]:
        if items[0] == 3:
            raise ZeroDivisionError
        return items

    prepared = ahead(range(10), prepare, chunk=1, n_workers=n_workers)
    assert [next(prepared) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(prepared)


def test_threads_end_when_the_reading_does() -> None:
    prepared = ahead(range(100), lambda items: items, chunk=1, n_workers=3)
    next(prepared)
    prepared.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("torch_anchors")]


# ------------------------------------------------------------------------------------------------------- instances


def test_single_images_pairs_and_batches() -> None:
    one, batch = torch.zeros(3, 4, 5), torch.zeros(2, 3, 4, 5)
    assert [tuple(image.shape) for image in instances_of(batch)] == [(3, 4, 5)] * 2
    assert [tuple(image.shape) for image in instances_of([one, batch, (one, 1), [batch, torch.zeros(2)]])] == [
        (3, 4, 5)
    ] * 6
    picture = Image.new("RGB", (5, 4))
    assert len(list(instances_of(TensorDataset(batch, torch.zeros(2))))) == 2
    assert list(instances_of([picture, (picture, 0)])) == [picture, picture]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(3, 4, 5), r"got Tensor of shape \(3, 4, 5\). For one image call explain\(image\)"),
        (np.zeros((4, 5)), r"got ndarray of shape \(4, 5\)"),
    ],
)
def test_one_image_is_not_several(images: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=f"images must be several.*{words}"):
        next(instances_of(images))
