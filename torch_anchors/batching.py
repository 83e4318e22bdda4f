"""From many instances to explanations in their order: seeds, progress, interruption."""

from __future__ import annotations

import hashlib
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from torch import Tensor
from tqdm import tqdm

from torch_anchors.engine.job import Job
from torch_anchors.engine.runner import Runner
from torch_anchors.errors import ArgumentError

Explained = TypeVar("Explained")
Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def version() -> str:
    """The installed version of the package."""
    try:
        return installed_version("torch-anchors")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


def checked_seed(seed: int | np.integer | None) -> int:
    """The user's seed, or a new one from the system."""
    if seed is None:
        return secrets.randbits(64)
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ArgumentError(f"seed must be None or a whole number of at least 0, got {seed!r}.")
    return int(seed)


def stream(seed: int, *instance: bytes) -> np.random.Generator:
    """The random stream of one instance: from the seed and the instance's bytes, never from its position.

    So an explanation does not depend on what else is in a batch, nor on the order.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in instance:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return np.random.default_rng([seed, int.from_bytes(digest.digest(), "little")])


def say(line: str) -> None:
    """One line for a user who asked for a verbose search; it does not disturb a progress bar."""
    tqdm.write(line, file=sys.stderr)


def in_order(
    runner: Runner,
    jobs: Iterable[Job],
    explained: Callable[[Sequence[Job]], Iterable[Explained]],
    *,
    progress: bool = False,
    total: int | None = None,
    unit: str = "instance",
) -> Iterator[Explained]:
    """Explanations in the order of `jobs`, each as soon as it and all before it are finished.

    `explained` makes them of jobs that finished together, one for each.

    If the work is interrupted, those finished behind one that is not are the exception's ``finished_later``, by number.

    With `progress`, a bar shows finished instances a second, model rows a second and how full the batches are.
    """
    finished: dict[int, Explained] = {}
    n_yielded = 0
    started = time.perf_counter()
    try:
        with tqdm(total=total, unit=f" {unit}s", disable=not progress) as bar:
            for wave in runner.waves(_numbered(jobs)):
                for job, explanation in zip(wave, explained(wave), strict=True):
                    finished[job.tag[0]] = explanation
                elapsed = max(time.perf_counter() - started, 1e-9)
                rate = f"{runner.load.n_rows / elapsed:.0f}"
                bar.set_postfix({"rows/s": rate, "batch fill": f"{runner.load.fill:.0%}"}, refresh=False)
                bar.update(len(wave))
                while n_yielded in finished:
                    yield finished.pop(n_yielded)
                    n_yielded += 1
    except GeneratorExit:
        raise
    except BaseException as error:
        error.finished_later = finished  # type: ignore[attr-defined]
        raise


def _numbered(jobs: Iterable[Job]) -> Iterator[Job]:
    for number, job in enumerate(jobs):
        job.tag = (number, job.tag)
        yield job


def collected(explanations: Iterable[Explained]) -> list[Explained]:
    """All explanations. If the work is interrupted, those finished are the exception's ``finished``."""
    done: list[Explained] = []
    try:
        for explanation in explanations:
            done.append(explanation)
    except BaseException as error:
        error.finished = done  # type: ignore[attr-defined]
        raise
    return done


def ahead(
    items: Iterable[Item], prepare: Callable[[list[Item]], list[Prepared]], *, chunk: int, n_workers: int
) -> Iterator[Prepared]:
    """What `prepare` makes of the items, in their order, `chunk` at a time and a few chunks ahead in worker threads.

    The items are read in the caller's thread. Without workers each chunk is prepared when it is asked for.
    """
    source = iter(items)
    chunks = iter(lambda: list(islice(source, chunk)), [])
    if n_workers == 0:
        for part in chunks:
            yield from prepare(part)
        return
    with ThreadPoolExecutor(n_workers, thread_name_prefix="torch_anchors") as pool:
        waiting = deque(pool.submit(prepare, part) for part in islice(chunks, n_workers + 1))
        while waiting:
            ready = waiting.popleft().result()
            waiting.extend(pool.submit(prepare, part) for part in islice(chunks, 1))
            yield from ready


def instances_of(images: Any) -> Iterator[Any]:
    """The single images of a data set or any iterable of images, of (image, target) pairs, or of batches of either."""
    single = isinstance(images, (np.ndarray, Tensor)) and images.ndim != 4
    if single or not (isinstance(images, Iterable) or hasattr(images, "__getitem__")):
        shape = f" of shape {tuple(images.shape)}" if single else ""
        raise ArgumentError(
            "images must be several: an iterable of images, a tensor (N, C, H, W) or an array (N, H, W, C), got "
            f"{type(images).__name__}{shape}. For one image call explain(image)."
        )
    for item in images:
        first = item[0] if isinstance(item, (tuple, list)) and len(item) else item
        if getattr(first, "ndim", 0) == 4:
            yield from first
        else:
            yield first
