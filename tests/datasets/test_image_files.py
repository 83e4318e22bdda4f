"""Pictures of a folder and the folders in it, or of a list."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.inputs import folder_of_pictures, pixels
from torch_anchors.datasets.image_files import ImageFiles
from torch_anchors.errors import ArgumentError


def test_a_folder_gives_ids_and_true_labels(tmp_path: Path) -> None:
    folder_of_pictures(tmp_path, 4)
    (tmp_path / "blue" / "notes.txt").touch()
    (tmp_path / "top.PNG").write_bytes((tmp_path / "red" / "001.png").read_bytes())
    (tmp_path / "red" / "deep").mkdir()
    (tmp_path / "red" / "deep" / "x.png").write_bytes((tmp_path / "red" / "001.png").read_bytes())
    for hidden in (tmp_path / ".cache", tmp_path / "red"):
        hidden.mkdir(exist_ok=True)
        (hidden / "._x.png").touch()
    (tmp_path / ".cache" / "y.png").touch()
    os.symlink(tmp_path, tmp_path / "blue" / "round")  # would go in circles
    source = ImageFiles(tmp_path)
    entries = list(source.entries())
    ids = ["blue/000.png", "blue/002.png", "red/001.png", "red/003.png", "red/deep/x.png", "top.PNG"]
    assert [entry.id for entry in entries] == ids
    assert source.n == 6
    read = source.read(entries)
    assert [entry.true_label for entry in entries] == ["blue", "blue", "red", "red", "red", None]
    np.testing.assert_array_equal(read.given[2], pixels(1))
    assert source.digest() is None
    assert source.folder == tmp_path


@pytest.mark.parametrize("as_list", [False, True])
def test_pictures_are_found_again_by_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_list: bool
) -> None:
    folder_of_pictures(tmp_path / "in", 2)
    monkeypatch.chdir(tmp_path)
    paths = ["in/blue/000.png", "in/red/001.png"]
    source = ImageFiles(paths if as_list else "in")
    assert source.folder is not None
    assert source.folder.is_absolute()
    assert all((source.folder / entry.id).is_file() for entry in source.entries())
    assert ImageFiles(paths, ["a", "b"]).folder is None


def test_the_order_is_that_of_the_paths_whatever_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of_pictures(tmp_path, 6)
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top: [(a, d, f[::-1]) for a, d, f in list(walk(top))[::-1]])
    ids = [entry.id for entry in ImageFiles(tmp_path).entries()]
    assert ids == sorted(ids)


def test_a_list_has_its_own_order_and_ids(tmp_path: Path) -> None:
    folder_of_pictures(tmp_path, 2)
    paths = [str(tmp_path / "red" / "001.png"), tmp_path / "blue" / "000.png"]
    assert [entry.id for entry in ImageFiles(paths).entries()] == [str(path) for path in paths]
    source = ImageFiles(paths, ids=["a", 7])
    assert [entry.id for entry in source.entries()] == ["a", "7"]
    assert [entry.true_label for entry in source.entries()] == [None, None]


def test_where_there_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="source must have pictures, and there is none in"):
        ImageFiles(tmp_path)
    with pytest.raises(ArgumentError, match="there is no folder"):
        ImageFiles(tmp_path / "nowhere")
    with pytest.raises(ArgumentError, match="ids must have one id for each of the 1 inputs, got 2"):
        ImageFiles(["a.png"], ids=["a", "b"])


def test_pictures_of_more_than_8_bits_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 3000, dtype=np.uint16)).save(tmp_path / "deep.png")
    source = ImageFiles(tmp_path)
    with pytest.raises(ArgumentError, match=r"deep\.png has more than 8 bits a channel.*np.asarray\(image\) / 257"):
        source.read(list(source.entries()))
