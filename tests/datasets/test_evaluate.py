"""A whole data set: the same as alone, continued, refused, shared out."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import Identity
from torch.utils.data import DataLoader, TensorDataset

from tests.anchor_series import AnchorSeries
from tests.datasets.inputs import (
    COLUMNS,
    brightness,
    by_id,
    folder_of_pictures,
    of_images,
    of_rows,
    pixels,
    rows_of_table,
)
from torch_anchors import AnchorTabular, Evaluation, RuleList, Within, evaluate
from torch_anchors.datasets.evaluate import question_of
from torch_anchors.datasets.fields import explained_row
from torch_anchors.errors import ArgumentError
from torch_anchors.models import LoadedModel, Preprocess
from torch_anchors.whole_files import CannotWriteError

ABOUT = ("reason", "true_label", "score", "settings", "label_name", *("seconds", "n_calls"))


def quietly(*arguments: Any, **more: Any) -> Evaluation:
    return evaluate(*arguments, progress=False, **more)


# ------------------------------------------------------------------------------------------------- the same as alone


def test_several_anchors_and_excluded_columns_are_in_the_rows(tmp_path: Path) -> None:
    explainer, rows = of_rows(), 2 + 0.1 * rows_of_table(4)
    settings: dict[str, Any] = {"n_anchors": 2, "threshold": 0.55, "exclude": ["rent"]}
    found = quietly(explainer, rows, tmp_path / "out", **settings)
    for i, row in enumerate(rows):
        expected = explained_row(str(i), explainer.explain(row, **settings))
        for name in ("status", "names", "precision_low", "others", "n_rows"):
            assert by_id(found)[str(i)][name] == expected[name]
    assert any(row["others"] for row in by_id(found).values())
    assert not any(p["column"] == "rent" for row in by_id(found).values() for p in row["predicates"])
    assert found.run.settings["n_anchors"] == 2


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    source = folder_of_pictures(tmp_path / "in")
    names = ("blue", "red")
    explainer = of_images()
    found = quietly(explainer, source, tmp_path / "out", label_names=names, part_size=4, threshold=0.9)
    assert found.complete
    assert len(found) == found.n_inputs == 6
    assert len(found.parts) == 2
    rows = by_id(found, varying=ABOUT)
    for i in range(6):
        alone = explainer.explain(pixels(i), threshold=0.9)
        id = f"{names[i % 2]}/{i:03d}.png"
        expected = explained_row(id, alone, seed=0)
        assert rows[id] == {name: value for name, value in expected.items() if name not in ABOUT}
        row = by_id(found)[id]
        probability = brightness(torch.from_numpy(pixels(i)).float().permute(2, 0, 1)[None]).softmax(1)[0, alone.label]
        assert row["score"] == pytest.approx(float(probability), rel=1e-5)
        assert row["true_label"] == names[i % 2]
        assert row["label_name"] == names[alone.label]


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_rows_of_a_table(tmp_path: Path, sampling: str) -> None:
    explainer = of_rows(sampling=sampling)
    table = pd.DataFrame(rows_of_table(40), columns=COLUMNS).assign(key=[f"k{i}" for i in range(40)], y=[0, 1] * 20)
    table.to_csv(tmp_path / "t.csv", index=False)
    found = quietly(explainer, tmp_path / "t.csv", tmp_path / "out", ids="key", true_label="y", part_size=15)
    rows = by_id(found, varying=ABOUT)
    for i, alone in enumerate(explainer.explain_batch(table[COLUMNS])):
        expected = explained_row(f"k{i}", alone, seed=0)
        assert rows[f"k{i}"] == {name: value for name, value in expected.items() if name not in ABOUT}
    assert {row["true_label"] for row in by_id(found).values()} == {"0", "1"}
    assert len(found.parts) == 3


def test_other_kinds_of_source(tmp_path: Path) -> None:
    images = np.stack([pixels(i) for i in range(4)])
    whole = by_id(quietly(of_images(), images, tmp_path / "array"))
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2)
    loader = DataLoader(TensorDataset(tensors, torch.tensor([1, 0, 1, 0])), batch_size=3)
    streamed = quietly(of_images(), loader, tmp_path / "loader", label_names=["dark", "bright"])
    assert streamed.n_inputs == 4
    for id, row in by_id(streamed).items():
        assert row["true_label"] == ["bright", "dark"][int(id) % 2]
        same = ("features", "precision", "n_rows", "mask", "score")
        assert [row[name] for name in same] == [whole[id][name] for name in same]


def test_an_explainer_of_another_kind(tmp_path: Path) -> None:
    """Of a modality that the package does not know, so that nothing is known of masks, scores and conditions."""
    series = [np.random.default_rng(i).random(12).astype(np.float32) for i in range(3)]
    explainer = AnchorSeries(lambda rows: (rows[:, 2] > 0.5).long(), 4, seed=0)
    found = quietly(explainer, series, tmp_path, threshold=0.9)
    for id, row in by_id(found).items():
        assert row["names"] == list(explainer.explain(series[int(id)], threshold=0.9).names)
        assert row["mask"] is row["score"] is row["predicates"] is None


def test_pictures_are_transformed_when_they_are_read(tmp_path: Path) -> None:
    found = quietly(of_images(), [pixels(0)], tmp_path, transform=lambda image: 255 - image)
    alone = of_images().explain(255 - pixels(0))
    assert by_id(found)["0"]["features"] == list(alone.features)


def test_the_record_says_where_photographs_are(tmp_path: Path) -> None:
    pictures = folder_of_pictures(tmp_path / "in", 1)
    done = quietly(of_images(), pictures, tmp_path / "out")
    assert done.run.pictures == {"folder": str(pictures), "whole": True, "resize": None}
    preprocess = Preprocess((16, 16), resize=18)
    fitted = quietly(of_images(), pictures, tmp_path / "fitted", transform=LoadedModel("", Identity(), preprocess).fit)
    assert fitted.run.pictures == {"folder": str(pictures), "whole": False, "resize": 18}
    assert quietly(of_images(), [pixels(0)], tmp_path / "array").run.pictures is None


def test_the_global_state_stays_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    quietly(of_images(), [pixels(0)], tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_bar_shows_all_inputs_those_before_included(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quietly(of_rows(), rows_of_table(3), tmp_path, ids=["a", "b", "c"])
    assert capsys.readouterr().err == ""
    evaluate(of_rows(), rows_of_table(3), tmp_path, ids=["a", "b", "c"])
    assert "100%" in (shown := capsys.readouterr().err)
    assert "3/3" in shown
    assert "rows/s" in shown


# --------------------------------------------------------------------------------------------- continued and refused


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    images = [pixels(i) for i in range(4)]
    quietly(of_images(), images[:3], tmp_path)
    seen = 0

    def counting(image: Any) -> Any:
        nonlocal seen
        seen += 1
        return image

    whole = by_id(quietly(of_images(), images, tmp_path / "whole", transform=counting))
    assert seen == 4
    found = quietly(of_images(), images, tmp_path)
    assert [len(Evaluation(tmp_path).table(["id"])), found.n_inputs] == [4, 4]
    assert by_id(found) == whole


@pytest.mark.parametrize(
    ("explainer", "more", "complaint"),
    [
        (of_images(lambda rows: brightness(rows) + 1), {}, "it has another model"),
        (of_images(seed=1), {}, "its seed is 0, not 1"),
        (of_images(fill=1.0), {}, "another fill|setting fill is 0.0, not 1.0"),
        (of_images(images_background=pixels(9)[None], fill="mean"), {}, "images_background is False, not True"),
        (of_images(), {"threshold": 0.9}, "its setting threshold is 0.95, not 0.9"),
        (of_images(), {"p_sample": 0.4}, "its setting p_sample is 0.5, not 0.4"),
        (of_images(), {"transform": np.flipud}, "it has another transform"),
        (of_images(), {"label_names": ["a", "b"]}, "it has another label names"),
    ],
)
def test_another_model_or_other_settings_are_refused(
    tmp_path: Path, explainer: Any, more: dict[str, Any], complaint: str
) -> None:
    before = by_id(quietly(of_images(), [pixels(0)], tmp_path))
    with pytest.raises(ArgumentError, match=rf"holds another run: .*({complaint})"):
        quietly(explainer, [pixels(0), pixels(1)], tmp_path, **more)
    assert by_id(Evaluation(tmp_path)) == before
    quietly(of_images(max_rows=16), [pixels(0), pixels(1)], tmp_path, n_workers=1)  # which do not matter
    again = quietly(explainer, [pixels(1)], tmp_path, overwrite=True, **more)
    assert len(again) == 1


def test_other_rows_of_a_table_under_the_same_numbers_are_refused(tmp_path: Path) -> None:
    quietly(of_rows(), rows_of_table(3), tmp_path)
    with pytest.raises(ArgumentError, match="it has another source"):
        quietly(of_rows(), rows_of_table(3, seed=5), tmp_path)
    with pytest.raises(ArgumentError, match=r"it has another labels of the training rows|it has another model"):
        quietly(of_rows(lambda rows: (rows[:, 2] > 0).long()), rows_of_table(3), tmp_path)


def test_parts_of_nobody_are_refused(tmp_path: Path) -> None:
    quietly(of_rows(), rows_of_table(3), tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(ArgumentError, match=r"has parts and no run\.json"):
        quietly(of_rows(), rows_of_table(3), tmp_path)
    assert len(quietly(of_rows(), rows_of_table(3), tmp_path, overwrite=True)) == 3


def test_overwriting_leaves_files_of_others(tmp_path: Path) -> None:
    quietly(of_rows(), rows_of_table(5), tmp_path, part_size=1)
    (tmp_path / "notes.txt").touch()
    assert len(quietly(of_rows(), rows_of_table(3), tmp_path, overwrite=True)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "part-000-000001.parquet", "run.json"]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"treshold": 0.9}, r"settings must be parameters of explain_batch, .*'treshold'. Did you mean threshold\?"),
        ({"on_error": "skip"}, "which has no 'on_error'"),
        ({"threshold": 1.5}, "threshold must be"),
        ({"part_size": 0}, "part_size must be a whole number of at least 1, got 0"),
        ({"rank": 1}, "rank and world_size must be given together"),
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to world_size - 1"),
        ({"ids": ["a", "a"]}, "ids must differ, and 'a' comes twice"),
        ({"label": "cat"}, "label must be a number, as the predictor returns no class names"),
    ],
)
def test_what_is_wrong_with_the_question_is_said_before_the_work(
    tmp_path: Path, more: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        quietly(of_images(), [pixels(0), pixels(1)], tmp_path / "out", **more)
    assert not list((tmp_path / "out").glob("part*"))


def test_other_arguments_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match=r"out must be a folder, and .*file is a file"):
        quietly(of_images(), [pixels(0)], tmp_path / "file")
    with pytest.raises(ArgumentError, match=r"transform must be None for tables"):
        quietly(of_rows(), rows_of_table(2), tmp_path / "out", transform=abs)
    with pytest.raises(ArgumentError, match=r"seed must be below 2\*\*64"):
        quietly(of_images(seed=2**64), [pixels(0)], tmp_path / "out")


def test_the_question_is_that_of_the_explainer() -> None:
    assert question_of(of_images(), {"p_sample": 0.3}).p_sample == 0.3  # type: ignore[attr-defined]
    with pytest.raises(ArgumentError, match="no 'p_sample'"):
        question_of(of_rows(), {"p_sample": 0.3})


def test_without_pyarrow_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        ImportError, match=r'needs the package pyarrow\. Install it with: pip install "torch-anchors\[ev'
    ):
        quietly(of_images(), [pixels(0)], tmp_path)


# ------------------------------------------------------------------------------------------------------- the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 80 kB; skipped where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only the superuser of a machine of its own can mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said_and_the_same_command_continues(small_disk: Path) -> None:
    out, ballast = small_disk / "out", small_disk / "ballast"
    rows = rows_of_table(60)
    ballast.write_bytes(bytes(44_000))
    with pytest.raises(CannotWriteError, match=r"part-000-\d+\.parquet cannot be written: No space left on device"):
        quietly(of_rows(), rows, out, part_size=10)
    n_before = len(Evaluation(out))
    assert n_before < 60
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    ballast.unlink()
    found = quietly(of_rows(), rows, out, part_size=30)
    assert len(by_id(found)) == 60


def test_a_folder_that_cannot_be_written_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)  # the superuser may write everywhere
    with pytest.raises(CannotWriteError, match=r"cannot be written: Permission denied"):
        quietly(of_images(), [pixels(0)], tmp_path)


# ------------------------------------------------------------------------------------------------- several processes


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    complaints = []

    def second(image: Any) -> Any:
        with pytest.raises(ArgumentError, match="is being written by this process") as caught:
            quietly(of_images(), [pixels(0)], tmp_path)
        complaints.append(str(caught.value))
        return image

    quietly(of_images(), [pixels(0)], tmp_path, transform=second)
    assert len(complaints) == 1


@pytest.mark.parametrize("world_size", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_ranks_share_the_work_and_find_the_same(tmp_path: Path, world_size: int) -> None:
    rows = rows_of_table(20)
    whole = by_id(quietly(of_rows(), rows, tmp_path / "whole"))
    for rank in reversed(range(world_size)):
        found = quietly(of_rows(), rows, tmp_path / "shared", rank=rank, world_size=world_size)
    assert by_id(found) == whole
    assert found.complete
    assert {path.name[:8] for path in found.parts} == {f"part-00{rank}" for rank in range(world_size)}
    assert all(0 < n < 20 for n in [len(pd.read_parquet(path)) for path in found.parts])


def test_more_or_fewer_processes_may_continue(tmp_path: Path) -> None:
    rows = rows_of_table(20)
    quietly(of_rows(), rows, tmp_path, rank=1, world_size=3)
    quietly(of_rows(), rows, tmp_path, rank=0, world_size=2)
    assert len(by_id(quietly(of_rows(), rows, tmp_path))) == 20


def test_ranks_start_again_without_each_others_old_parts(tmp_path: Path) -> None:
    for rank in range(3):
        quietly(of_rows(), rows_of_table(20, seed=3), tmp_path, rank=rank, world_size=3)
    rows = rows_of_table(12)
    for rank in (1, 0):
        found = quietly(of_rows(), rows, tmp_path, rank=rank, world_size=2, overwrite=True)
    assert by_id(found) == by_id(quietly(of_rows(), rows, tmp_path / "whole"))


def test_the_environment_says_which_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    n_own = len(quietly(of_rows(), rows_of_table(20), tmp_path))
    assert 0 < n_own < 20
    assert not Evaluation(tmp_path).complete


# ----------------------------------------------------------------------------------------------------- other targets


def test_values_of_a_regression_are_evaluated_and_right_is_not_known(tmp_path: Path) -> None:
    def price(rows: np.ndarray) -> np.ndarray:
        return 10 * (rows[:, 0] > 0) + 0.1 * rows[:, 1]

    rows = rows_of_table(300, seed=1)
    explainer = AnchorTabular(price, ["age", "pay", "rent"], seed=0).fit(rows)
    found = quietly(explainer, rows[:4], tmp_path / "out", target=Within(2), true_label=["1", "2", "3", "4"])
    table = found.table().to_pandas()
    assert set(table.label_name) == {"within 2"}
    assert [json.loads(said) for said in table.said] == [
        explainer.explain(row, target=Within(2)).said for row in rows[table.id.astype(int)]
    ]
    assert json.loads(table.settings[0])["target"] == "Within(tolerance=2)"
    assert (found.summary()["right"], found.summary()["score"]) == (None, None)
    with pytest.raises(ArgumentError, match=r"another run.*target"):
        quietly(explainer, rows[:4], tmp_path / "out", target=Within(3), true_label=["1", "2", "3", "4"])
    with pytest.raises(ArgumentError, match=r"evaluation must be about the labels .* target=Within\(tolerance=2\)"):
        RuleList.from_evaluation(found, explainer, rows)


def test_the_column_with_the_true_label_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"target must be what counts as the same answer.*got 'y'.*true_label="):
        quietly(of_rows(), rows_of_table(3), tmp_path / "out", target="y")
