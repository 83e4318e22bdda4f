"""Shape checks of every annotated call, and the device that the suite runs on."""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import config as jaxtyping_config
from jaxtyping import install_import_hook

install_import_hook("torch_anchors", "beartype.beartype")

import matplotlib  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

matplotlib.use("Agg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="device to run the suite on, such as cpu or cuda")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """What a user meets who has no type checker: our own message."""
    before = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    yield
    jaxtyping_config.update("jaxtyping_disable", before)
