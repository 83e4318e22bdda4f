"""Shape checks of every annotated call, and the device that the suite runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side, each with a core of its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # which numerical libraries read when they are imported

from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

install_import_hook("torch_anchors", "beartype.beartype")

import matplotlib  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from tests.pretended_gpu import CUDA, pretended_gpu  # noqa: E402

matplotlib.use("Agg")

PRETENDED = "pretended"
"""The name of a GPU that is not there."""


FAST = (
    "test_house.py",
    "test_locks.py",
    "test_seeds.py",
    "test_settings.py",
    "test_words.py",
    "engine/test_eval_mode.py",
    "engine/test_job.py",
    "engine/test_ledger.py",
    "engine/test_memory.py",
    "engine/test_max_rows.py",
    "engine/test_pool.py",
    "engine/test_replies.py",
    "engine/test_row_queue.py",
    "images/test_pixels.py",
    "perturb/",
    "search/test_bounds.py",
    "search/test_budget.py",
    "search/test_certify.py",
    "search/test_choose.py",
    "search/test_exact.py",
    "search/test_protocol.py",
    "tables/test_bitsets.py",
    "tables/test_columns.py",
    "tables/test_discretizer.py",
    "tables/test_rule.py",
    "tables/test_schema.py",
    "tables/test_training.py",
)
"""Files below this folder that together take seconds: what to run after each change, with ``pytest -m fast``."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if config.getoption("--device") == PRETENDED:  # for the whole session; tests that ask for no device go without
        items[:] = [
            item
            for item in items
            if "device" in getattr(item, "fixturenames", ()) and item.get_closest_marker("real_device") is None
        ]
    for item in items:
        slow = item.get_closest_marker("slow") is not None
        if not slow and item.path.relative_to(here).as_posix().startswith(FAST):
            item.add_marker(pytest.mark.fast)


def pytest_addoption(parser: pytest.Parser) -> None:
    help = f"device to run the suite on, such as cpu or cuda; {PRETENDED!r}: one that tests/pretended_gpu.py makes up"
    parser.addoption("--device", default="cpu", help=help)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    name = request.config.getoption("--device")
    if name != PRETENDED:
        yield torch.device(name)
        return
    with pretended_gpu():
        yield CUDA


@pytest.fixture
def unchecked() -> Iterator[None]:
    """What a user meets who has no type checker: our own message."""
    before = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", before)
