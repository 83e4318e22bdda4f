"""Explainers and explanations are pickled, copied and sent to other processes, and are small."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor, nn

from torch_anchors import AnchorImage, AnchorTabular, Within


class Bright(nn.Module):
    """1 where the upper left quarter is bright."""

    def forward(self, rows: Tensor) -> Tensor:
        height, width = rows.shape[2:]
        bright = rows[:, :, : height // 2, : width // 2].float().mean((1, 2, 3))
        return torch.stack([torch.full_like(bright, 80.0), bright], dim=1)


def inverted(image: Tensor, segments: Tensor) -> Tensor:
    return 255 - image


def first_positive(rows: Tensor) -> Tensor:
    return (rows[:, 0] > 0).long()


def ten_times_the_first(rows: np.ndarray) -> np.ndarray:
    return 10 * rows[:, 0]


def outcome(explanation: Any) -> tuple[Any, ...]:
    return explanation.features, explanation.names, explanation.precision_interval, explanation.n_rows


def explained_image(explainer: AnchorImage) -> tuple[Any, ...]:
    return outcome(explainer.explain(picture(48)))


def explained_row(explainer: AnchorTabular) -> tuple[Any, ...]:
    return outcome(explainer.explain([1.5, 0.0, 1.0]))


def picture(size: int) -> np.ndarray:
    return np.ascontiguousarray(astronaut()[:size, 100 : 100 + size])


FILLS: dict[str, dict[str, Any]] = {
    "mean": {},
    "blur": {"fill": "blur"},
    "infill": {"fill": "infill"},
    "noise": {"fill": "noise"},
    "value": {"fill": 3.0},
    "callable": {"fill": inverted},
    "backgrounds": {"images_background": np.stack([picture(48), 255 - picture(48)])},
}


def copies(thing: Any) -> list[Any]:
    return [pickle.loads(pickle.dumps(thing)), copy.deepcopy(thing)]


@pytest.mark.parametrize("fill", FILLS)
def test_image_explainers(fill: str) -> None:
    explainer = AnchorImage(Bright(), seed=0, **FILLS[fill])
    found = explained_image(explainer)  # which fills caches
    for made in copies(explainer):
        assert explained_image(made) == found


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.parametrize("ohe", [False, True])
def test_table_explainers(sampling: str, ohe: bool) -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=(400, 2)), rng.integers(0, 2, 400)])
    explainer = AnchorTabular(
        first_positive, ["a", "b", "c"], {2: ["no", "yes"]}, torch.float32, ohe, 0, sampling=sampling
    )
    explainer.fit(np.column_stack([rows[:, :2], np.eye(2)[rows[:, 2].astype(int)]]) if ohe else rows)
    row = [1.5, 0.0, 0.0, 1.0] if ohe else [1.5, 0.0, 1.0]
    for made in copies(explainer):  # fitted, and nothing learned yet
        assert outcome(made.explain(row)) == outcome(explainer.explain(row))
    for made in copies(explainer):
        assert outcome(made.explain(row)) == outcome(explainer.explain(row))


@pytest.mark.parametrize(
    "target", [Within(3), lambda values: (values > 0).astype(np.int64)], ids=["Within", "a lambda"]
)
def test_explainers_that_were_asked_about_a_target(target: Any) -> None:
    """A target of a user's own is a function, which may have no name to be pickled by."""
    rows = np.random.default_rng(0).normal(size=(300, 2))
    explainer = AnchorTabular(ten_times_the_first, ["a", "b"], seed=0).fit(rows)
    expected = outcome(explainer.explain(rows[0], target=target))
    for other in (pickle.loads(pickle.dumps(explainer)), copy.deepcopy(explainer), copy.copy(explainer)):
        assert outcome(other.explain(rows[0], target=target)) == expected


def test_explanations_keep_all_that_they_show() -> None:
    explanation = AnchorImage(Bright(), seed=0).explain(picture(48))
    table = AnchorTabular(first_positive, dtype=torch.float32, seed=0).fit(
        np.random.default_rng(0).normal(size=(300, 3))
    )
    rule = table.explain([1.5, 0.0, 1.0])
    for made in copies(explanation):
        assert str(made) == str(explanation)
        np.testing.assert_array_equal(made.segments, explanation.segments)
        np.testing.assert_array_equal(made.anchor, explanation.anchor)
        assert len(made.examples) == len(explanation.examples) > 0
        for one, other in zip(made.examples, explanation.examples, strict=True):
            np.testing.assert_array_equal(one.image, other.image)
    for made in copies(rule):
        assert str(made) == str(rule)
        assert [one.row for one in made.examples] == [one.row for one in rule.examples]


def test_other_processes() -> None:
    image, table = AnchorImage(Bright(), seed=0), AnchorTabular(first_positive, dtype=torch.float32, seed=0)
    table.fit(np.random.default_rng(0).normal(size=(300, 3)))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(explained_image, [image]) == explained_image(image)
        assert pool.apply(explained_row, [table]) == explained_row(table)


@pytest.mark.parametrize("fill", ["mean", "blur", "noise", "callable"])
def test_an_explanation_of_an_ordinary_picture_is_small(fill: str) -> None:
    explanation = AnchorImage(Bright(), seed=0, **FILLS[fill]).explain(picture(224))
    assert len(explanation.examples) > 0
    assert len(pickle.dumps(explanation)) < 400_000


def test_an_explanation_shares_no_memory_with_the_users_image() -> None:
    mine = picture(48)
    explanation = AnchorImage(Bright(), seed=0).explain(mine)
    before = explanation.image.copy()
    mine[:] = 0
    np.testing.assert_array_equal(explanation.image, before)
    assert before.any()


FIRST_EXPLANATION = """
import sys
import numpy as np, torch
import torch_anchors
assert "torch" in sys.modules
explainer = torch_anchors.AnchorImage(lambda rows: (rows[:, 0, 0, 0] > 0.5).long(), segmentation_fn="grid", seed=0)
explainer.explain(torch.rand(3, 32, 32))
table = torch_anchors.AnchorTabular(lambda rows: (rows[:, 0] > 0).long(), dtype=torch.float32, seed=0)
table.fit(np.random.default_rng(0).normal(size=(200, 3))).explain([1.0, 0.0, 0.0])
print([name for name in ("torch._dynamo", "sympy", "torchvision", "kornia") if name in sys.modules])
"""


def test_a_first_explanation_imports_no_compiler() -> None:
    found = subprocess.run([sys.executable, "-c", FIRST_EXPLANATION], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
