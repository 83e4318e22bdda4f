"""Ray's actors explain what one process explains, whatever happens to them. Without Ray, most of this is skipped."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.datasets.inputs import COLUMNS, VARYING, brightness, of_images, of_rows, pixels, rich, rows_of_table
from tests.test_docs import DOCS, code_of, said_by
from torch_anchors import (
    AnchorImage,
    AnchorsWarning,
    AnchorTabular,
    ArgumentError,
    PredictorCallError,
    TabularSampler,
    evaluate,
)
from torch_anchors.datasets.fields import schema
from torch_anchors.integrations.ray import Columns, Explaining, Work, explain

slow = pytest.mark.slow  # as each actor imports PyTorch
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own

N = 12


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


def by_their_ids(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows without what varies: a reason may tell how many rows the model was called with."""
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        row["reason"] = row["reason"] and row["reason"].partition(" (called with")[0]
    return {row["id"]: {name: value for name, value in row.items() if name not in VARYING} for row in rows}


def alone(explainer: Any, source: Any, out: Path, **more: Any) -> dict[str, dict[str, Any]]:
    """What one process makes of a data set."""
    return by_their_ids(evaluate(explainer, source, out, progress=False, **more).table().to_pylist())


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def images() -> list[dict[str, Any]]:
    """Pictures as files have them; one is torn, and the model cannot stand another."""
    items = [{"path": f"{i}.png", "bytes": encoded(pixels(i)), "label": i % 2} for i in range(N)]
    items[3]["bytes"] = items[3]["bytes"][:60]
    items[7]["bytes"] = encoded(np.full((16, 16, 3), 7, dtype=np.uint8))
    return items


def hates_grey(rows: Tensor) -> Tensor:
    if (rows[:, :, 8:] == 7).all((1, 2, 3)).any():
        raise ValueError("grey")
    return brightness(rows)


def explainer_of_images(**settings: Any) -> AnchorImage:
    return of_images(hates_grey, **settings)


ABOUT: dict[str, Any] = {"transform": np.fliplr, "label_names": ["dark", "bright"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one process makes of the pictures."""
    ids = [item["path"] for item in images()]
    found = alone(explainer_of_images(), images(), tmp_path_factory.mktemp("whole"), ids=ids, **ABOUT)
    assert sum(row["status"] == "failed" for row in found.values()) == 2
    return found


# -------------------------------------------------------------------------------------- what an actor does, without Ray


def handed(table: pa.Table, make: Callable[[], Any], *, batch_size: int = 64, **more: Any) -> list[dict[str, Any]]:
    """What an actor makes of a table, in pieces."""
    columns = Columns(*(more.pop(name, None) for name in ("ids", "true_label", "instances")))
    actor = Explaining(Work(make, columns, more.pop("transform", None), more.pop("label_names", None), more))
    made = [actor(table[i : i + batch_size]) for i in range(0, len(table), batch_size)]
    assert all(one.schema == schema() for one in made)
    return [row for one in made for row in one.to_pylist()]


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_an_actor_explains_pictures_in_pieces(whole: dict[str, Any], batch_size: int) -> None:
    rows = handed(pa.Table.from_pylist(images()), explainer_of_images, batch_size=batch_size, **ABOUT)
    assert [row["id"] for row in rows] == [item["path"] for item in images()]
    assert by_their_ids(rows) == whole


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_an_actor_explains_rows_of_a_table(sampling: str, tmp_path: Path) -> None:
    make, names = partial(of_rows, sampling=sampling), {"ids": "key", "true_label": "y"}
    found = handed(pa.Table.from_pandas(labelled_table()), make, batch_size=15, threshold=0.9, **names)
    assert by_their_ids(found) == alone(make(), labelled_table(), tmp_path, threshold=0.9, **names)


def test_an_actor_explains_rows_that_are_vectors(tmp_path: Path) -> None:
    rows = rows_of_table(5)
    found = handed(pa.table({"id": range(5), "v": rows.tolist()}), of_rows, instances="v")
    assert by_their_ids(found) == alone(of_rows(), rows, tmp_path)


def broken(rows: Tensor) -> Tensor:
    raise RuntimeError("no kernel image")


@pytest.mark.parametrize(
    ("make", "more", "complaint"),
    [
        (partial(of_images, seed=None), {}, "make_explainer must give its explainer a seed"),
        (partial(of_images, seed=2**64), {}, "seed must be below"),
        (dict, {}, "make_explainer must make an explainer, such as an AnchorImage, got {}"),
        (of_images, {"treshold": 0.9}, r"no 'treshold'. Did you mean threshold\?"),
        (of_images, {"ids": "key"}, "ids must name a column; got 'key', and the data set has the columns path, bytes"),
        (of_images, {"instances": "photo"}, "instances must name a column; got 'photo'"),
        (of_images, {"true_label": "kind"}, "true_label must name a column; got 'kind'"),
        (of_images, {"ids": "label"}, "ids must differ, and '0' comes twice"),
        (of_rows, {"transform": abs}, "transform must be None for tables"),
    ],
)
def test_an_actor_complains_of_what_it_cannot_work_with(
    make: Callable[[], Any], more: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        handed(pa.Table.from_pylist(images()), make, **more)


def test_a_data_set_without_ids() -> None:
    with pytest.raises(ArgumentError, match="ids must name a column, as none is called id, ids, path; got None"):
        handed(pa.table({"image": [encoded(pixels(0))]}), of_images)


def test_a_model_that_fails_on_everything_ends_the_work() -> None:
    table = pa.Table.from_pylist([item for item in images() if item["label"] == 0])
    with pytest.raises(PredictorCallError, match=r"no kernel image.* on each of the first 5 images"):
        handed(table, partial(of_images, broken), batch_size=2)


def test_an_actor_that_failed_goes_on_with_the_next_piece() -> None:
    """As Ray lets it where a data set may have some errors."""
    actor = Explaining(Work(explainer_of_images, Columns(None, None, None), None, None, {}))
    grey = encoded(np.full((16, 16, 3), 7, dtype=np.uint8))
    with pytest.raises(PredictorCallError, match="on each of the first 5 images"):
        actor(pa.table({"id": range(6), "image": [encoded(pixels(0)), *[grey] * 5][::-1]}))
    found = actor(pa.Table.from_pylist(images()[:3])).to_pylist()
    assert by_their_ids(found) == by_their_ids(handed(pa.Table.from_pylist(images()[:3]), explainer_of_images))


# ----------------------------------------------------------------------------------------------------------- by Ray


@slow
@pytest.mark.parametrize("concurrency", [1, 2])
def test_actors_explain_what_one_process_explains(ray: Any, whole: dict[str, Any], concurrency: int) -> None:
    dataset = ray.data.from_items(images())
    found = explain(dataset, explainer_of_images, concurrency=concurrency, batch_size=3, **ABOUT)
    assert by_their_ids(found.take_all()) == whole


class Deadly:
    """Kills its process when it is asked for the third time, but only once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.n = folder, 0

    def __call__(self, rows: Tensor) -> Tensor:
        self.n += 1
        if self.n == 3 and not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return hates_grey(rows)


def deadly_explainer(folder: Path) -> AnchorImage:
    (folder / f"started-{os.getpid()}").touch()
    return of_images(Deadly(folder))


@slow
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_killed_actor_is_started_again_and_nothing_is_lost(
    ray: Any, whole: dict[str, Any], concurrency: int, tmp_path: Path
) -> None:
    make = partial(deadly_explainer, tmp_path)
    dataset = ray.data.from_items(images())
    found = explain(dataset, make, concurrency=concurrency, batch_size=3, **ABOUT)
    assert by_their_ids(found.take_all()) == whole
    assert (tmp_path / "killed").exists()
    assert len(list(tmp_path.glob("started-*"))) == concurrency + 1


def labelled_table() -> pd.DataFrame:
    table = pd.DataFrame(rows_of_table(40), columns=COLUMNS)
    table.loc[5, "pay"] = np.nan
    return table.assign(key=[f"k{i}" for i in range(40)], y=["a", "b"] * 20)


@slow
def test_rows_of_a_table(ray: Any, tmp_path: Path) -> None:
    names: dict[str, Any] = {"ids": "key", "true_label": "y"}
    found = explain(ray.data.from_pandas(labelled_table()), of_rows, concurrency=(1, 2), batch_size=15, **names)
    assert by_their_ids(found.take_all()) == alone(of_rows(), labelled_table(), tmp_path, **names)


@slow
def test_pictures_as_arrays_of_several_sizes_and_what_becomes_of_them_in_parquet(ray: Any, tmp_path: Path) -> None:
    pictures = [pixels(0), pixels(1)[:12]]
    dataset = ray.data.from_items([{"name": f"p{i}", "image": image} for i, image in enumerate(pictures)])
    explain(dataset, of_images, ids="name").write_parquet(str(tmp_path / "written"))
    found = pq.read_table(tmp_path / "written").to_pylist()
    assert by_their_ids(found) == alone(of_images(), pictures, tmp_path / "alone", ids=["p0", "p1"])


@slow
def test_what_an_actor_complains_of_is_the_end_of_rays_error(ray: Any) -> None:
    dataset = ray.data.from_items(images())
    with pytest.raises(ray.exceptions.RayError, match="must give its explainer a seed"):
        explain(dataset, partial(of_images, seed=None)).materialize()
    with pytest.raises(ray.exceptions.RayError, match="ids must name a column; got 'key'"):
        explain(dataset, of_images, ids="key").materialize()


@slow
def test_actors_that_leave_no_processor_for_reading_are_told_of(ray: Any) -> None:
    with pytest.warns(AnchorsWarning, match=r"The actors take all 3 processors that Ray has, .*\(num_cpus=0.5\)"):
        explain(ray.data.range(3), of_images, concurrency=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AnchorsWarning)
        explain(ray.data.range(3), of_images, concurrency=3, num_cpus=0.5)
        explain(ray.data.from_items([1]), of_images, concurrency=3)


@slow
@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"make_explainer": 3}, "make_explainer must be a function without parameters"),
        ({"dataset": [1]}, "dataset must be a Data set of Ray, got"),
        ({"concurrency": 0}, "concurrency must be a number of actors of at least 1, or .*, got 0"),
        ({"concurrency": (2, 1)}, r"concurrency must be .*, got \(2, 1\)"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"num_gpus": -1}, "num_gpus must be a number of at least 0, got -1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_wrong_is_said_before_the_work(ray: Any, more: dict[str, Any], complaint: str) -> None:
    given = {"dataset": ray.data.from_items([{"id": 1}]), "make_explainer": of_images, **more}
    with pytest.raises(ArgumentError, match=complaint):
        explain(given.pop("dataset"), given.pop("make_explainer"), **given)


# ----------------------------------------------------------------------------------------------------- training rows


def late_at_first(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """So that the first rows come after others."""
    if batch["item"][0] == 0:
        time.sleep(1.5)
    return {name: TRAINING[batch["item"], i] for i, name in enumerate(COLUMNS)}


TRAINING = rows_of_table(300, seed=1)


@slow
@pytest.mark.parametrize("what", ["array", "frame", "arrow", "data set", "matrix", "reference to a data set"])
def test_training_rows_that_ray_holds(ray: Any, what: str) -> None:
    frame = pd.DataFrame(TRAINING, columns=COLUMNS)
    dataset = ray.data.from_items(list(range(300)), override_num_blocks=10)
    dataset = dataset.map_batches(late_at_first, batch_format="numpy", batch_size=None)
    given = {
        "array": lambda: ray.put(TRAINING),
        "frame": lambda: ray.put(frame),
        "arrow": lambda: ray.data.from_pandas(frame).to_arrow_refs()[0],
        "data set": lambda: dataset,
        "matrix": lambda: ray.data.from_numpy(TRAINING),
        "reference to a data set": lambda: ray.put(dataset),
    }[what]()
    explainer = AnchorTabular(rich, COLUMNS, dtype=torch.float32, seed=0).fit(given)
    expected = of_rows()
    for row in rows_of_table(5):
        found, alone = explainer.explain(row), expected.explain(row)
        assert found.names == alone.names
        assert found.precision_interval == alone.precision_interval


@slow
def test_the_references_sampler_takes_training_rows_that_ray_holds(ray: Any) -> None:
    def drawn(training: Any, bins: Any) -> np.ndarray:
        sampler = TabularSampler(lambda rows: (rows[:, 0] > 0).long(), (25, 50, 75), [0, 1, 2], [], COLUMNS, {}, seed=0)
        sampler.deferred_init(training, bins).build_lookups(TRAINING[0])
        return sampler((0, (1,)), 20, compute_labels=False)[0]

    bins = np.stack([np.searchsorted(np.percentile(c, (25, 50, 75)), c) for c in TRAINING.T], axis=1)
    expected = drawn(TRAINING, None)
    np.testing.assert_array_equal(drawn(ray.put(TRAINING), ray.put(bins)), expected)
    np.testing.assert_array_equal(drawn(ray.data.from_numpy(TRAINING), ray.data.from_numpy(bins)), expected)


@slow
def test_the_page_about_ray_shows_what_works(ray: Any, tmp_path: Path) -> None:
    code = code_of(DOCS / "ray.md")
    for folder in ("photographs", "explained"):  # Ray's processes have the folder in which it was started
        code = code.replace(f'"{folder}', f'"{tmp_path / folder}')
    shown: dict[str, Any] = {"__name__": "__main__"}  # so that its functions are sent, as a user's are
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "ray.md", "exec", dont_inherit=True), shown)
    assert printed.getvalue().splitlines() == said_by(DOCS / "ray.md")
    written = pq.read_table(tmp_path / "explained").to_pylist()
    assert {Path(row["id"]).stem: row["status"] == "failed" for row in written} == {
        "coffee": False,
        "rocket": False,
        "torn": True,
    }
    rules = shown["rules"].set_index("id")
    assert len(rules) == 569
    explainer = AnchorTabular(shown["forest"].predict_proba, dtype=np.float64, seed=0, sampling="conditional")
    alone = explainer.fit(shown["table"].data).explain(shown["table"].data.iloc[7])
    assert list(rules.names["7"]) == list(alone.names)


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, None)
    message = r'needs the package ray\. Install it with: pip install "torch-anchors\[ray\]"'
    with pytest.raises(ImportError, match=message):
        explain("data set", of_images)  # type: ignore[arg-type]
