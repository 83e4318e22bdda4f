"""Weights that are not there, without a network: one line, soon, that says what to do."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torchvision
from PIL import Image

from torch_anchors.cli import CANNOT, main
from torch_anchors.models import downloads
from torch_anchors.models.downloads import answers, loaded_in_time


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    Image.new("RGB", (8, 8)).save("cat.png")


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """Set at the end of the test, for what waits forever; the threads that waited have then put back what they set."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name == "torch_anchors weights":
            thread.join(60)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


ZOOS = ("timm:resnet18", "torchvision:resnet18")


def take_the_place_of_downloads(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    monkeypatch.setattr(timm, "create_model", load)
    monkeypatch.setattr(torchvision.models, "get_model", load)


@pytest.mark.parametrize("model", ZOOS)
def test_the_network_is_down(model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*arguments: object, **more: object) -> object:
        raise OSError("<urlopen error [Errno -2]\nName or service not known>")

    take_the_place_of_downloads(monkeypatch, fail)
    assert main(["image", "cat.png", "--model", model]) == CANNOT
    captured = capsys.readouterr()
    assert not captured.out
    (said,) = captured.err.splitlines()
    assert said.startswith(f"torch-anchors: error: The weights of {model} are not in")
    assert "Errno -2] Name or service not known>. Connect to the network once, or use efficientnet-lite0" in said


@pytest.mark.parametrize("model", ZOOS)
def test_nobody_answers(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hung: threading.Event
) -> None:
    take_the_place_of_downloads(monkeypatch, lambda *arguments, **more: hung.wait(60))
    monkeypatch.setattr(downloads, "PATIENCE", 0.05)
    monkeypatch.setattr(downloads, "answers", lambda host: False)
    assert main(["image", "cat.png", "--model", model]) == CANNOT
    (said,) = capsys.readouterr().err.splitlines()
    assert "does not answer. Connect to the network once, or use efficientnet-lite0" in said


def test_gives_up_in_time() -> None:
    assert downloads.PATIENCE + downloads.ANSWER <= 5  # as PyTorch and timm take up to 5 to be imported


class TestLoadedInTime:
    def test_a_download_that_goes_on_takes_as_long_as_it_takes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(downloads, "PATIENCE", 0.01)
        monkeypatch.setattr(downloads, "answers", lambda host: True)
        assert loaded_in_time(lambda: time.sleep(0.1) or "loaded", "http://here", lambda: False) == "loaded"

    def test_what_is_in_the_cache_needs_no_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(downloads, "PATIENCE", 0.01)
        monkeypatch.setattr(downloads, "answers", lambda host: False)
        assert loaded_in_time(lambda: time.sleep(0.1) or "loaded", "http://here", lambda: True) == "loaded"

    def test_leaves_everything_as_it_was(self, capsys: pytest.CaptureFixture[str]) -> None:
        seen: list[Any] = []

        def load() -> None:
            print("Downloading: ...")
            seen.append((socket.getdefaulttimeout(), logging.getLogger("huggingface_hub").level))

        before = logging.getLogger("huggingface_hub").level
        loaded_in_time(load, "http://here", lambda: False)
        assert seen == [(downloads.STALL, logging.ERROR)]
        assert (socket.getdefaulttimeout(), logging.getLogger("huggingface_hub").level) == (None, before)
        assert capsys.readouterr() == ("", "")

    def test_errors_come_through(self) -> None:
        def fail() -> None:
            raise KeyError("weights")

        with pytest.raises(KeyError, match="weights"):
            loaded_in_time(fail, "http://here", lambda: False)


def test_who_answers(monkeypatch: pytest.MonkeyPatch, silent: str) -> None:
    monkeypatch.setattr(downloads, "ANSWER", 0.2)
    began = time.monotonic()
    assert not answers(silent)
    assert not answers("http://127.0.0.1:1")
    assert not answers("no address")
    assert time.monotonic() - began < 2
