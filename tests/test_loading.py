"""Saved in one process, loaded in another; twelve damaged or hostile files."""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import torch_anchors
from torch_anchors import AnchorImage, AnchorTabular, ArgumentError
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.loading import KINDS, load
from torch_anchors.packing import pack_array
from torch_anchors.store import Document

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8)


def bright(rows: torch.Tensor) -> torch.Tensor:
    return (rows[:, 0, :12, :12].mean((1, 2)) > 100).long()


def explained_picture(**settings: Any) -> ImageExplanation:
    grid = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 3, "cols": 3}}
    return AnchorImage(bright, dtype=torch.float32, seed=0, **{**grid, **settings}).explain(PICTURE)


LOADED = """
import hashlib, sys
import numpy as np
import torch_anchors
for path in sys.argv[1:]:
    made = torch_anchors.load(path)
    print(type(made).__name__, hashlib.sha256(str((str(made), made.raw, made.to_dict())).encode()).hexdigest())
"""


def test_saved_here_and_loaded_in_another_process(tmp_path: Path) -> None:
    rows = RNG.normal(size=(300, 3))
    table = AnchorTabular(lambda x: (x[:, 0] > 0).astype(int), ["age", "pay", "rent"], seed=0).fit(rows)
    made = [
        explained_picture(),
        explained_picture(fill="blur"),
        explained_picture(fill="infill"),
        explained_picture(images_background=PICTURE[None] // 2),
        table.explain([1.5, 0.0, 0.0]),
    ]
    paths = [str(tmp_path / f"{i}.json") for i in range(len(made))]
    for one, path in zip(made, paths, strict=True):
        one.save(path)
    found = subprocess.run([sys.executable, "-c", LOADED, *paths], capture_output=True, text=True, check=True)
    again = [load(path) for path in paths]
    digests = [hashlib.sha256(str((str(one), one.raw, one.to_dict())).encode()).hexdigest() for one in again]
    assert found.stdout.split() == [w for one, d in zip(made, digests, strict=True) for w in (type(one).__name__, d)]
    for one, other in zip(again, made, strict=True):
        assert str(one) == str(other)
        assert str(one.raw) == str(other.raw)  # type: ignore[attr-defined]


def test_all_kinds_are_known() -> None:
    assert {kind.__name__ for kind in KINDS} == {"ImageExplanation", "TabularExplanation", "NecessaryExplanation"}
    assert torch_anchors.load is load


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


def hostile() -> dict[str, bytes]:
    """Twelve files that are no explanations, by what is wrong with them."""
    document = explained_picture()._document()
    text = document.to_text()

    def altered(**changes: Any) -> bytes:
        """With other fields, and a digest that says that they are right."""
        fields = {**document.data["explanation"], **changes}
        return Document(document.kind, document.meta, {**document.data, "explanation": fields}).to_text().encode()

    image = document.data["explanation"]["image"]
    bomb = pack_array(np.zeros((9000, 9000), dtype=np.uint8))["png"]
    huge = {"dtype": "float64", "shape": [2**20, 2**20, 3], "deflate": ""}
    return {
        "its end is missing": text[: len(text) // 2].encode(),
        "digest": text.replace('"precision": 1.0', '"precision": 0.9').encode(),
        "version 99": text.replace('"version": 2', '"version": 99').encode(),
        "it is no text": pickle.dumps(Evil()),
        "not written by save": json.dumps({"meta": {}, "data": {}}).encode(),
        "of the kind": Document("os.system", document.meta, document.data).to_text().encode(),
        "may take": altered(image={**image, "pixels": huge}),
        "must be a picture of the shape": altered(image={**image, "pixels": {**image["pixels"], "png": bomb}}),
        "features must be": altered(features="__import__('os')"),
        "image.kind": altered(image={**image, "kind": "../../etc/passwd"}),
        "segments must be": altered(segments=pack_array(np.zeros((5, 5), dtype=np.uint8))),
        "is damaged": altered(
            image={**image, "pixels": {**image["pixels"], "png": base64.b64encode(b"GIF89a").decode()}}
        ),
    }


@pytest.mark.usefixtures("unchecked")
def test_damaged_and_hostile_files_are_refused_and_nothing_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = hostile()
    assert len(files) == 12
    for reason, content in files.items():
        path = tmp_path / "hostile.json"
        path.write_bytes(content)
        with pytest.raises(ArgumentError, match=r"hostile\.json cannot be read as an explanation: ") as caught:
            load(path)
        assert reason in str(caught.value)
        assert len(str(caught.value)) < 400
    assert not (tmp_path / "executed").exists()
