"""AnchorImage from the outside: planted anchors come back, every argument matters, nothing else does."""

from __future__ import annotations

import copy
import json
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import ResNet18_Weights

import torch_anchors
from torch_anchors import (
    DEFAULT_DATA_ANCHOR_IMG,
    DEFAULT_META_ANCHOR,
    AnchorImage,
    AnchorsWarning,
    ArgumentError,
    ImageExplanation,
    PredictorCallError,
    PredictorReturnTypeError,
    Status,
)
from torch_anchors.images.pixels import as_picture, hwc
from torch_anchors.search import choose

# 3 x 4 superpixels of 8 x 8 pixels; superpixel k covers the square in row k // 4 and column k % 4.
GRID = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 3, "cols": 4}}
# Of 2 x 2 superpixels, 0 shows squares 0, 1, 4, 5 of the grid, and 3 the squares 6, 7 (in part), 10 and 11.
SMALL = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 2, "cols": 2}}


class Planted(nn.Module):
    """1 while the superpixels `members` all show light pixels, 0 otherwise; in an arithmetic without rounding."""

    def __init__(self, *members: int, bright: float = 0.25) -> None:
        super().__init__()
        self.members, self.bright = members, bright
        self.n_rows = 0
        self.register_buffer("one", torch.ones(1))

    def forward(self, rows: Tensor) -> Tensor:
        self.n_rows += rows.shape[0]
        light = (rows > self.bright).all(1)  # (N, H, W)
        squares = [light[:, 8 * (k // 4) + 2, 8 * (k % 4) + 2] for k in self.members]
        return torch.stack(squares).all(0).long() if squares else torch.ones(len(rows), dtype=torch.int64)


class Untidy(Planted):
    """A label that depends on many squares, so that a search has work to do."""

    def forward(self, rows: Tensor) -> Tensor:
        self.n_rows += rows.shape[0]
        return untidy(rows, self.bright)


class Uncounted(nn.Module):
    """`Untidy` without an attribute that changes, which would have a compiler compile again."""

    def forward(self, rows: Tensor) -> Tensor:
        return untidy(rows, 0.6)


def untidy(rows: Tensor, bright: float) -> Tensor:
    light = (rows > bright).all(1)[:, 2::8, 2::8].flatten(1).long()  # (N, 12)
    return ((light * torch.tensor([9, 1, 7, 2, 1, 8, 1, 2, 1, 6, 1, 2])).sum(1) > 20).long()


SETTINGS = {"threshold": 0.8, "n_covered_ex": 2, "min_samples_start": 20, "max_anchor_size": 3}
QUICK = {"method": "beam", "min_samples_start": 12}


def photograph(height: int = 24, width: int = 32, channels: int = 3, seed: int = 0) -> Tensor:
    """Light pixels everywhere, in [0.5, 1]."""
    return torch.from_numpy(np.random.default_rng(seed).random((channels, height, width), dtype=np.float32) / 2 + 0.5)


def explainer_of(model: Any = None, **settings: Any) -> AnchorImage:
    given = {**GRID, "fill": 0.0, "seed": 0, "max_rows": 64, **settings}
    return AnchorImage(Planted(1, 6) if model is None else model, **given)


def settled(explainer: AnchorImage) -> AnchorImage:
    """The explainer when it knows that its model repeats its answers, so that no row is predicted twice any more."""
    explainer.explain_batch([photograph(seed=s) for s in range(90, 93)], method="beam", max_rows_total=100)
    return explainer


def facts(explanation: ImageExplanation) -> str:
    """Everything but the times and the shared forward passes."""
    known = {k: v for k, v in explanation.to_dict().items() if k not in ("seconds", "n_calls", "meta")}
    pictures = [(np.asarray(e.image).tolist(), e.label, e.hit) for e in explanation.examples]
    return json.dumps([known, pictures, np.asarray(explanation.anchor).tolist()])


# ------------------------------------------------------------------------------------------------------- planted truth


@pytest.mark.parametrize("members", [(0,), (1, 6), (2, 5, 11)])
@pytest.mark.parametrize("method", ["beam", "exact"])
def test_the_planted_superpixels_come_back(members: tuple[int, ...], method: str, device: torch.device) -> None:
    model = Planted(*members).to(device)
    explainer = settled(explainer_of(model))
    model.n_rows = 0
    explanation = explainer.explain(photograph(), method=method)
    assert explanation.features == members
    assert explanation.success
    assert explanation.status is (Status.EXACT if method == "exact" else Status.CERTIFIED)
    assert explanation.precision == 1.0
    assert explanation.coverage == 0.5 ** len(members)
    assert explanation.label == 1
    assert explanation.names == tuple(f"superpixel {k}" for k in members)
    padding = 0 if device.type == "cpu" else 63  # elsewhere the last batch has as many rows as the others
    assert explanation.n_rows <= model.n_rows <= explanation.n_rows + padding
    low, high = explanation.precision_interval
    assert 0.95 <= low <= 1 == high
    assert explanation.path[0].anchor == ()
    assert explanation.path[-1].anchor == members
    assert explanation.seconds > 0
    assert explanation.n_calls >= 1


def test_a_model_that_looks_at_nothing_needs_no_superpixel() -> None:
    explanation = explainer_of(Planted()).explain(photograph())
    assert explanation.features == ()
    assert explanation.status is Status.EMPTY_HOLDS
    assert explanation.coverage == 1.0


def test_the_mask_and_the_anchor_picture_show_the_superpixels() -> None:
    image = photograph()
    explanation = explainer_of().explain(image)
    mask = np.zeros((24, 32), dtype=bool)
    mask[:8, 8:16] = mask[8:16, 16:24] = True
    np.testing.assert_array_equal(explanation.mask, mask)
    assert torch.equal(explanation.anchor, torch.where(torch.from_numpy(mask), image, 0.0))
    assert explanation.n_superpixels == 12


@pytest.mark.parametrize("members", [(1, 6), (0,)])
def test_backgrounds_stand_in_for_absent_superpixels(members: tuple[int, ...]) -> None:
    dark = [torch.full((3, 24, 32), value) for value in (0.0, 0.1, 0.2)]
    explanation = AnchorImage(Planted(*members), images_background=dark, seed=0, **GRID).explain(photograph())
    assert explanation.features == members
    darkest = {round(float(e.image.min()), 1) for e in explanation.examples}
    assert darkest <= {0.0, 0.1, 0.2, 0.5}
    assert len(darkest - {0.5}) > 1


def test_backgrounds_of_another_size_are_resized_with_a_note() -> None:
    with pytest.warns(AnchorsWarning, match="1 of 1 images_background were resized"):
        explanation = AnchorImage(
            Planted(3), images_background=[np.zeros((5, 9, 3), dtype=np.float32)], seed=0, **GRID
        ).explain(photograph())
    assert explanation.features == (3,)


# ------------------------------------------------------------------------------------------------ kinds of images

PIXELS = np.random.default_rng(3).integers(128, 256, (24, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        PIXELS.astype(np.float32),
        PIXELS.astype(np.float64),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1).float(),
        Image.fromarray(PIXELS),
    ],
)
def test_colour_images_of_every_kind_have_one_explanation(image: Any) -> None:
    explainer = explainer_of(Untidy(bright=60.0))
    found, reference = explainer.explain(image, **SETTINGS), explainer.explain(PIXELS, **SETTINGS)
    assert found.to_dict().keys() == reference.to_dict().keys()
    for key in ("anchor", "precision", "coverage", "n_rows", "label", "segments"):
        assert found.to_dict()[key] == reference.to_dict()[key]
    if isinstance(image, Tensor):
        expected = np.moveaxis(np.where(found.mask[..., None], PIXELS, 0), -1, 0)
        assert isinstance(found.anchor, Tensor)
        assert found.anchor.dtype == image.dtype
    else:
        expected = np.where(found.mask[..., None], as_picture(np.asarray(image)), 0)
        assert isinstance(found.anchor, np.ndarray)
        assert found.anchor.dtype == (np.float32 if np.asarray(image).dtype.kind == "f" else np.uint8)
    np.testing.assert_array_equal(np.asarray(found.anchor), expected)


GREY = PIXELS[..., 0]


@pytest.mark.parametrize(
    "image",
    [
        GREY,
        GREY[..., None],
        GREY.astype(np.float32),
        torch.from_numpy(GREY.copy()),
        torch.from_numpy(GREY.copy())[None],
        Image.fromarray(GREY),
    ],
)
@pytest.mark.parametrize("segmentation", [GRID, {"segmentation_fn": "slic", "segmentation_kwargs": {"sigma": 2.0}}])
def test_grey_images_of_every_kind_have_one_explanation(image: Any, segmentation: dict[str, Any]) -> None:
    explainer = explainer_of(Untidy(bright=60.0), **segmentation)
    found = explainer.explain(image, **SETTINGS)
    if segmentation is GRID or np.asarray(image).dtype == np.uint8:  # a float image has another range
        reference = explainer.explain(GREY, **SETTINGS)
        assert (found.features, found.n_rows) == (reference.features, reference.n_rows)
        np.testing.assert_array_equal(found.segments, reference.segments)
    assert np.asarray(found.anchor).shape == np.asarray(image).shape


def test_a_uint8_image_is_perturbed_in_uint8_before_preprocess() -> None:
    seen: list[Tensor] = []

    def preprocess(rows: Tensor) -> Tensor:
        seen.append(rows)
        return rows / 255

    explanation = explainer_of(preprocess=preprocess, fill=300.0, images_background=None).explain(PIXELS, label=1)
    assert {rows.dtype for rows in seen} == {torch.uint8}
    assert explanation.status is Status.EMPTY_HOLDS  # what replaces a superpixel is clipped to 255, as light as can be


def test_torchvision_presets_work() -> None:
    shapes: set[tuple[int, ...]] = set()

    def model(rows: Tensor) -> Tensor:
        shapes.add(tuple(rows.shape[1:]))
        return (rows[:, 0, :112].mean((1, 2)) > -1).long()

    explainer = AnchorImage(model, preprocess=ResNet18_Weights.DEFAULT.transforms(), seed=0, fill="constant", **SMALL)
    explanation = explainer.explain(Image.fromarray(np.tile(PIXELS, (3, 3, 1))))
    assert shapes == {(3, 224, 224)}
    assert set(explanation.features) & {0, 1}
    assert explanation.success


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_an_array_model_gets_arrays_as_in_the_reference(dtype: Any) -> None:
    def predict(rows: np.ndarray) -> np.ndarray:
        assert rows.dtype == dtype
        assert rows.shape[1:] == (24, 32, 3)
        return np.stack([rows[:, 2, 10].mean(1) <= 60, rows[:, 2, 10].mean(1) > 60], axis=1).astype(np.float32)

    explainer = AnchorImage(predict, (24, 32, 3), dtype=dtype, fill=0.0, seed=0, **GRID)
    assert explainer.explain(PIXELS).features == (1,)


def test_class_names_are_used_in_words() -> None:
    def predict(rows: np.ndarray) -> np.ndarray:
        return np.where(rows[:, 2, 10].mean(1) > 60, "light", "dark")

    explanation = AnchorImage(predict, dtype=np.float32, fill=0.0, seed=0, **GRID).explain(PIXELS)
    assert explanation.label_name == "light"
    assert "light" in str(explanation)
    assert explanation.features == (1,)


# ------------------------------------------------------------------------------------------------------- parameters


def test_every_parameter_of_the_search_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = []
    search = choose.guided_search
    monkeypatch.setattr(choose, "guided_search", lambda space, config: configs.append(config) or search(space, config))
    given = {
        "threshold": 0.9,
        "delta": 0.2,
        "tau": 0.3,
        "batch_size": 37,
        "beam_size": 2,
        "stop_on_first": True,
        "max_anchor_size": 3,
        "min_samples_start": 55,
        "max_rows_total": 900,
    }
    explanation = explainer_of().explain(photograph(), **given)
    assert {name: getattr(configs[0], name) for name in given} == given
    assert {name: explanation.meta["params"][name] for name in given} == given
    assert (explanation.threshold, explanation.delta) == (0.9, 0.2)


@pytest.mark.parametrize("p_sample", [0.3, 0.7])
def test_p_sample_changes_the_coverage_and_what_is_shown(p_sample: float) -> None:
    explanation = explainer_of().explain(photograph(), p_sample=p_sample, n_covered_ex=200)
    assert explanation.features == (1, 6)
    assert explanation.coverage == pytest.approx((1 - p_sample) ** 2)
    others = np.delete(explanation.rows.keep, (1, 6), axis=1)
    assert abs(others.mean() - (1 - p_sample)) < 0.1
    assert explanation.meta["params"]["p_sample"] == p_sample


def test_a_higher_threshold_needs_more_rows_and_a_lower_one_a_shorter_anchor() -> None:
    explainer = explainer_of(Untidy())
    loose, usual, strict = (explainer.explain(photograph(), threshold=t) for t in (0.6, 0.9, 0.99))
    assert len(loose.features) < len(strict.features)
    assert loose.n_rows < strict.n_rows
    assert usual.threshold == 0.9


def test_a_smaller_delta_needs_more_rows() -> None:
    assert explainer_of().explain(photograph(), delta=1e-6).n_rows > explainer_of().explain(photograph()).n_rows


def test_max_anchor_size_bounds_the_anchor() -> None:
    explanation = explainer_of(Planted(2, 5, 11)).explain(photograph(), max_anchor_size=2)
    assert len(explanation.features) <= 2
    assert explanation.status is Status.NOT_FOUND
    assert not explanation.success


@pytest.mark.parametrize("budget", [1, 20, 60])
def test_max_rows_total_is_a_bound(budget: int) -> None:
    model = Untidy()
    explainer = settled(explainer_of(model))
    model.n_rows = 0
    explanation = explainer.explain(photograph(), max_rows_total=budget)
    assert explanation.status is Status.ROW_BUDGET
    assert explanation.n_rows == model.n_rows <= budget  # the image's own label included


def test_stop_on_first_skips_the_shortening() -> None:
    explainer = explainer_of(Untidy())
    first, shortened = (explainer.explain(photograph(), stop_on_first=stop) for stop in (True, False))
    assert first.n_rows < shortened.n_rows


@pytest.mark.parametrize("n_covered_ex", [0, 3, 1000])
def test_n_covered_ex_bounds_the_examples_of_each_kind(n_covered_ex: int) -> None:
    explanation = explainer_of(Untidy()).explain(photograph(), **{**SETTINGS, "n_covered_ex": n_covered_ex})
    hits = [example for example in explanation.examples if example.hit]
    assert len(hits) <= n_covered_ex
    assert len(explanation.examples) - len(hits) <= n_covered_ex
    assert (len(explanation.examples) == 0) is (n_covered_ex == 0)
    str(explanation), explanation.raw


def test_a_given_label_is_explained() -> None:
    """Superpixel 5 hidden is what the label 0 needs; no anchor can show that, so none is found."""
    model = Planted(5)
    assert explainer_of(model).explain(photograph(), label=1).features == (5,)
    other = explainer_of(model).explain(photograph(), label=0)
    assert other.label == 0
    assert not other.success
    assert other.precision < 0.9


@pytest.mark.parametrize("method", ["beam", "exact"])
def test_every_row_but_the_image_itself_may_be_an_example(method: str) -> None:
    explainer = settled(explainer_of(Planted(), **SMALL))
    for label in (1, None):
        explanation = explainer.explain(photograph(), method=method, label=label, n_covered_ex=1000)
        assert explanation.features == ()
        assert len(explanation.examples) == explanation.n_rows - 1


def test_method_auto_enumerates_what_is_small() -> None:
    assert explainer_of(Planted(0), **SMALL).explain(photograph()).status is Status.EXACT
    assert explainer_of().explain(photograph()).status is Status.CERTIFIED
    assert explainer_of(Planted(0), **SMALL).explain(photograph(), max_rows_total=10).status is not Status.EXACT


@pytest.mark.parametrize(("every", "n_lines"), [(1, 3), (10_000, 1)])
def test_verbose_writes_to_standard_error(every: int, n_lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    explainer_of().explain(photograph(), verbose=True, verbose_every=every)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) >= n_lines
    assert "(1, 6): certified" in err.splitlines()[-1]
    assert ("round 1," in err) is (every == 1)


def test_nothing_is_written_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    explainer_of().explain(photograph())
    assert capsys.readouterr() == ("", "")


def test_progress_shows_images_and_rows_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    explainer_of().explain_batch([photograph(seed=s) for s in range(3)], progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "images" in shown
    assert "rows/s" in shown
    assert "batch fill" in shown


def test_a_loaders_length_is_not_taken_for_that_of_its_images(capsys: pytest.CaptureFixture[str]) -> None:
    images = torch.stack([photograph(seed=s) for s in range(4)])
    explainer_of().explain_batch(DataLoader(TensorDataset(images), batch_size=2), progress=True)
    assert "4/2" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["coverage_samples", "binary_cache_size", "cache_margin"])
def test_parameters_without_an_effect_say_so(name: str) -> None:
    documented = " ".join(torch_anchors.ExplainSettings.__doc__.split())
    sentence = documented[documented.index(name) :]
    assert "no effect any more" in sentence[:120]
    changed = explainer_of(Untidy()).explain(photograph(), **SETTINGS, **{name: 3})
    assert facts(changed) == facts(explainer_of(Untidy()).explain(photograph(), **SETTINGS))


# ------------------------------------------------------------------------------------------------------- determinism


def test_one_seed_has_one_explanation_whichever_object_makes_it() -> None:
    explainer = explainer_of(Untidy(), seed=5)
    first, second = (explainer.explain(photograph(), **SETTINGS) for _ in range(2))
    other = explainer_of(Untidy(), seed=5).explain(photograph(), **SETTINGS)
    assert facts(first) == facts(second) == facts(other)
    assert facts(explainer_of(Untidy(), seed=6).explain(photograph(), **SETTINGS)) != facts(first)


def test_without_a_seed_each_explainer_draws_its_own() -> None:
    found = [explainer_of(Untidy(), seed=None) for _ in range(2)]
    assert facts(found[0].explain(photograph())) == facts(found[0].explain(photograph()))
    assert found[0]._seed != found[1]._seed


def test_nothing_global_is_touched() -> None:
    model = nn.Sequential(nn.Dropout(0.5), Untidy()).train()
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    explainer_of(model).explain(photograph())
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)
    assert all(module.training for module in model.modules())


def test_explaining_changes_nothing_on_the_explainer() -> None:
    explainer = explainer_of(Untidy())
    before, deep = dict(vars(explainer)), copy.deepcopy(explainer.meta)
    predictor = dict(vars(explainer._predictor))
    size = copy.copy(explainer._max_rows)
    explainer.explain(photograph(), threshold=0.8, verbose=False, label=1)
    assert list(vars(explainer)) == list(before)
    assert all(vars(explainer)[name] is value for name, value in before.items())
    assert explainer.meta == deep
    assert vars(explainer._predictor) == predictor
    assert explainer._max_rows == size


def test_the_users_image_is_neither_changed_nor_kept_hostage() -> None:
    image = photograph()
    before = image.clone()
    explanation = explainer_of().explain(image)
    assert torch.equal(image, before)
    image.zero_()
    assert torch.equal(explanation.anchor, torch.where(torch.from_numpy(explanation.mask), before, 0.0))
    assert float(explanation.examples[0].image.max()) > 0.5


def test_reset_predictor_explains_another_model() -> None:
    explainer = explainer_of(Planted(1))
    assert explainer.explain(photograph()).features == (1,)
    other = Planted(7)
    explainer.reset_predictor(other)
    assert explainer.predictor.model is other
    assert explainer.explain(photograph()).features == (7,)
    with pytest.raises(ArgumentError, match=r"dtype must be a torch dtype for an nn\.Module"):
        AnchorImage(lambda rows: rows, dtype=np.float32).reset_predictor(other)


# ------------------------------------------------------------------------------------------------------- many images


def mixed_images() -> list[Tensor]:
    """Images of three sizes, one of them twice."""
    sizes = [(24, 32), (16, 40), (33, 17)]
    images = [photograph(*sizes[i % 3], seed=i) for i in range(6)]
    return [*images, images[4].clone()]


def resized(rows: Tensor) -> Tensor:
    return nn.functional.interpolate(rows, size=(24, 32), mode="nearest")


def mixed_explainer(max_rows: int | str = 64) -> AnchorImage:
    return explainer_of(Untidy(bright=0.6), preprocess=resized, max_rows=max_rows)


@pytest.fixture(scope="module")
def alone() -> list[str]:
    return [facts(mixed_explainer().explain(image, **SETTINGS)) for image in mixed_images()]


@pytest.mark.parametrize("max_rows", [1, 3, 7, 64, "auto"])
def test_batched_is_as_alone_whatever_the_size_of_a_batch(max_rows: int | str, alone: list[str]) -> None:
    found = mixed_explainer(max_rows).explain_batch(mixed_images(), **SETTINGS)
    assert [facts(explanation) for explanation in found] == alone
    assert alone[4] == alone[6]


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_images_does_not_matter(seed: int, alone: list[str]) -> None:
    order = np.random.default_rng(seed).permutation(7)
    images = mixed_images()
    found = mixed_explainer().explain_batch([images[i] for i in order], **SETTINGS)
    assert [facts(explanation) for explanation in found] == [alone[i] for i in order]


def test_16_images_are_explained_alike_in_any_company() -> None:
    """Alone, together, in any order and in batches of any size: bit for bit the same."""
    sizes = [(24, 32), (16, 40), (33, 17), (24, 32)]
    images = [photograph(*sizes[i % 4], seed=100 + i) for i in range(16)]
    alone = [facts(mixed_explainer().explain(image, **SETTINGS)) for image in images]
    assert len(set(alone)) == 16
    for max_rows, order in (
        (5, range(16)),
        (64, range(15, -1, -1)),
        ("auto", np.random.default_rng(2).permutation(16)),
    ):
        found = mixed_explainer(max_rows).explain_batch([images[i] for i in order], **SETTINGS)
        assert [facts(explanation) for explanation in found] == [alone[i] for i in order]


@pytest.mark.parametrize("n_workers", [1, 3])
def test_worker_threads_change_nothing(n_workers: int, alone: list[str]) -> None:
    found = mixed_explainer().explain_batch(mixed_images(), n_workers=n_workers, **SETTINGS)
    assert [facts(explanation) for explanation in found] == alone


def test_the_batched_segmentation_gives_each_image_what_it_gets_alone() -> None:
    settings = {"segmentation_fn": "slic_torch", "segmentation_kwargs": {"n_segments": 6, "compactness": 1000}}
    images = [photograph(seed=s) for s in range(5)] + [photograph(40, 24, seed=9)]
    explainer = explainer_of(lambda rows: (rows[:, :, 2, 2].mean(1) > 0.25).long(), **settings)
    batched = explainer.explain_batch(images)
    assert [facts(e) for e in batched] == [facts(explainer.explain(image)) for image in images]


def test_a_compiled_module_is_compiled_for_few_shapes_and_never_again() -> None:
    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(Uncounted(), backend=counter, dynamic=False)
    explainer = explainer_of(compiled, max_rows=16)
    images = [photograph(seed=s) for s in range(8)]
    first = explainer.explain_batch(images, **SETTINGS)
    n_compiled = counter.frame_count
    assert 1 <= n_compiled <= 4  # a full batch, a half, a quarter and an eighth
    explainer.explain_batch([photograph(seed=s) for s in range(20, 40)], **SETTINGS)
    explainer.explain(photograph(seed=50), method="exact")
    assert counter.frame_count <= 4
    plain = explainer_of(Untidy(bright=0.6)).explain_batch(images, **SETTINGS)
    assert [facts(e) for e in first] == [facts(e) for e in plain]


class Close(nn.Module):
    """Two logits so close to each other that half precision gives another answer; 2 where a corner is dark."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 3)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[2.0], [2.0 + 2**-9], [0.0]]))
            self.layer.bias.copy_(torch.tensor([0.0, 0.0, 1.0]))

    def forward(self, rows: Tensor) -> Tensor:
        return self.layer((rows[:, 0, 2, 2] > 0.25).float()[:, None])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("autocast", "label"), [(None, 1), (torch.bfloat16, 0)])
def test_the_label_is_that_of_the_precision_used(autocast: torch.dtype | None, label: int, channels_last: bool) -> None:
    """In bfloat16 the first two logits are equal, and the first wins."""
    explainer = explainer_of(Close(), autocast=autocast, channels_last=channels_last)
    for explanation in explainer.explain_batch([photograph(seed=s) for s in range(3)], method="beam"):
        assert explanation.label == label
        assert explanation.features == (0,)
        assert {(example.label == label, example.hit) for example in explanation.examples} == {(True, True)}


def test_a_device_with_little_memory_gives_the_same(alone: list[str]) -> None:
    class Small(Untidy):
        def forward(self, rows: Tensor) -> Tensor:
            if rows.shape[0] > 5:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(rows)

    explainer = explainer_of(Small(bright=0.6), preprocess=resized)
    assert [facts(e) for e in explainer.explain_batch(mixed_images(), **SETTINGS)] == alone
    assert explainer._max_rows.n <= 5


@pytest.mark.parametrize(
    "wrap",
    [
        lambda images: images,
        lambda images: tuple(images),
        lambda images: torch.stack(images),
        lambda images: torch.stack(images).permute(0, 2, 3, 1).numpy(),
        lambda images: [(image, 7) for image in images],
        lambda images: DataLoader(images, batch_size=2),  # a list is a data set
        lambda images: DataLoader(TensorDataset(torch.stack(images), torch.arange(5)), batch_size=2),
        lambda images: iter(images),
        lambda images: [torch.stack(images[:2]), torch.stack(images[2:])],
    ],
)
def test_several_images_may_come_in_many_ways(wrap: Callable[[list[Tensor]], Any]) -> None:
    images = [photograph(seed=s) for s in range(5)]
    explainer = explainer_of(Planted(0, 11), **SMALL)
    found = explainer.explain_batch(wrap(images))
    assert [e.features for e in found] == [(0, 3)] * 5
    for explanation, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(hwc(explanation.image), image.permute(1, 2, 0))


def test_no_images_are_no_explanations() -> None:
    assert explainer_of().explain_batch([]) == []


@pytest.mark.parametrize("images", [photograph(), photograph()[0].numpy(), Image.fromarray(PIXELS), 3])
def test_one_image_is_not_several(images: Any, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=r"images must be .*several.*explain\(image\)"):
        explainer_of().explain_batch(images)


def test_streaming_is_lazy_and_reads_only_a_little_ahead() -> None:
    n_read = 0

    def images() -> Iterator[Tensor]:
        nonlocal n_read
        for seed in range(60):
            n_read += 1
            yield photograph(seed=seed)

    explanations = explainer_of(Planted(6), max_rows=32).explain_iter(images(), **QUICK)
    assert n_read == 0
    ahead = []
    for n_done, explanation in enumerate(explanations, start=1):
        assert explanation.features == (6,)
        ahead.append(n_read - n_done)
        if n_done == 12:
            break
    assert max(ahead) <= 16
    explanations.close()


def test_streaming_gives_the_model_back_between_explanations() -> None:
    model = nn.Sequential(nn.Dropout(0.9), Planted(1, 6)).train()
    explainer = explainer_of(model, max_rows=32)
    streams = [explainer.explain_iter([photograph(seed=s) for s in range(4)], **QUICK) for _ in range(2)]
    for one, two in zip(*streams, strict=True):
        assert facts(one) == facts(two)
        assert all(module.training for module in model.modules())
    rest = explainer.explain_iter((photograph(seed=s) for s in range(100)), **QUICK)
    next(rest)
    rest.close()
    assert all(module.training for module in model.modules())
    assert not torch.is_inference_mode_enabled()


class Fails(Planted):
    """Fails after some calls."""

    def __init__(self, n_calls: int, error: BaseException) -> None:
        super().__init__(6)
        self.left, self.error = n_calls, error

    def forward(self, rows: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().forward(rows)


@pytest.mark.parametrize(
    ("error", "raised"), [(ValueError("broken"), PredictorCallError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_what_was_finished_before_a_failure_is_not_lost(error: BaseException, raised: type[BaseException]) -> None:
    model = Fails(26, error).train()
    images = [photograph(seed=s) for s in range(24)]
    with pytest.raises(raised) as caught:
        explainer_of(model, max_rows=32).explain_batch(images, **QUICK)
    finished = caught.value.finished
    assert 1 <= len(finished) < 24
    assert model.training
    whole = explainer_of(Planted(6)).explain_batch([images[number] for number in finished], **QUICK)
    assert [facts(e) for e in finished.values()] == [facts(e) for e in whole]


def test_a_broken_image_in_a_batch_is_named() -> None:
    images = [photograph(), torch.full((3, 24, 32), torch.nan), photograph(seed=2)]
    with pytest.raises(ArgumentError, match=r"image must have finite pixels.*image number 1 of those given") as caught:
        explainer_of().explain_batch(images)
    assert {0} <= set(caught.value.finished) <= {0, 2}
    with pytest.warns(AnchorsWarning, match=r"left out: image must have finite pixels.*image number 1 of those given"):
        found = explainer_of().explain_batch(images, on_error="skip")
    assert [facts(e) for e in found] == [facts(e) for e in explainer_of().explain_batch([images[0], images[2]])]


# ------------------------------------------------------------------------------------------------ the explanation


def test_examples_are_rows_of_the_anchor_with_the_models_labels() -> None:
    model, image = Untidy(), photograph()
    explanation = explainer_of(model).explain(image, threshold=0.8, n_covered_ex=5)
    assert {example.hit for example in explanation.examples} == {True, False}
    assert not any(np.array_equal(example.image, explanation.image) for example in explanation.examples)
    mask = torch.from_numpy(explanation.mask)
    for example in explanation.examples:
        assert torch.equal(example.image[:, mask], image[:, mask])
        assert int(model(example.image[None])) == example.label
        assert example.hit is (example.label == explanation.label)
    order = [example.hit for example in explanation.examples]
    assert order == sorted(order, reverse=True)


def test_the_references_dictionaries() -> None:
    image = photograph()
    explanation = explainer_of().explain(image)
    assert set(DEFAULT_META_ANCHOR) <= set(explanation.meta)
    assert explanation.meta["name"] == "AnchorImage"
    assert explanation.meta["type"] == ["blackbox"]
    assert explanation.meta["params"]["seed"] == 0
    assert set(explanation.data) == set(DEFAULT_DATA_ANCHOR_IMG)
    np.testing.assert_array_equal(explanation.data["segments"], explainer_of().generate_superpixels(image))
    raw = explanation.data["raw"]
    assert set(raw) >= {
        "feature", "mean", "precision", "coverage", "examples", "all_precision",
        "num_preds", "success", "names", "prediction", "instance", "instances",
    }  # fmt: skip
    assert sorted(raw["feature"]) == [1, 6]
    assert raw["precision"][-1] == explanation.precision
    assert raw["coverage"] == [0.5, 0.25]
    assert raw["num_preds"] == explanation.n_rows
    assert raw["prediction"].tolist() == [1]
    assert len(raw["examples"][-1]["covered_true"]) == 10
    assert torch.equal(raw["instance"], image)


def test_explanations_can_be_pickled() -> None:
    for image in (photograph(), PIXELS, Image.fromarray(PIXELS)):
        explanation = explainer_of(Planted(0, 11), **SMALL).explain(image)
        again = pickle.loads(pickle.dumps(explanation))
        assert facts(again) == facts(explanation)
        assert str(again) == str(explanation)


def test_superpixels_and_the_overlay() -> None:
    explainer = explainer_of()
    segments = explainer.generate_superpixels(PIXELS)
    assert segments.shape == (24, 32)
    assert segments.max() == 11
    overlay = explainer.overlay_mask(PIXELS, segments, [0, 5])
    shown = np.isin(segments, [0, 5])
    scaled = (PIXELS - float(PIXELS.min())) * (255 / (float(PIXELS.max()) - float(PIXELS.min())))
    np.testing.assert_array_equal(overlay[shown], np.rint(scaled[shown]))
    assert overlay.dtype == np.uint8
    assert (overlay[~shown] == 0).all()
    unit = explainer.overlay_mask(GREY, segments, [3], scale=(0.0, 1.0))
    assert unit.max() <= 1
    assert unit.dtype.kind == "f"


# ------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.fromarray(np.zeros((24, 32), dtype=np.uint16)), r'8 bits a channel, got mode "I;16".*/ 257'),
        (np.zeros((24, 32, 5), dtype=np.uint8), r"\(height, width, 1 to 4\)"),
        (torch.zeros(24, 32, 3), r"channels-first: pass image.permute\(2, 0, 1\)"),
        (np.zeros((3, 24, 32)), "channels-last"),
        (torch.zeros(2, 3, 24, 32), r"For one image of a batch pass image\[0\]"),
        (np.zeros((24, 32), dtype=complex), "whole numbers or floating point, got complex128"),
        (torch.full((3, 24, 32), torch.inf), "finite pixels"),
        ("photo.jpg", "got str"),
        (np.zeros((25, 32, 3)), r"image_shape given to AnchorImage, \(24, 32, 3\) \(H, W, C\), got \(25, 32, 3\)"),
    ],
)
def test_images_that_cannot_be_read(image: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        explainer_of(image_shape=(24, 32, 3)).explain(image)


@pytest.mark.parametrize(("shape", "image"), [((24, 32), GREY), ((24, 32, 1), GREY), ((24, 32, 3), PIXELS)])
def test_image_shape_is_channels_last(shape: tuple[int, ...], image: np.ndarray) -> None:
    assert explainer_of(image_shape=shape).explain(image).features == (1, 6)


def test_a_colour_image_is_not_of_a_grey_shape() -> None:
    with pytest.raises(ArgumentError, match=r"image must have the image_shape given to AnchorImage, \(24, 32\)"):
        explainer_of(image_shape=(24, 32)).explain(PIXELS)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"predictor": "resnet"}, "predictor must be a torch.nn.Module or a callable"),
        ({"segmentation_fn": "watershed"}, "segmentation_fn must be one of"),
        ({"segmentation_fn": np.zeros((9, 9), dtype=int)}, r"of the image's shape \(24, 32\)"),
        ({"segmentation_kwargs": {"n": 3}}, "segmentation_kwargs of 'grid' may be"),
        ({"fill": "white"}, "fill must be .*got 'white'"),
        ({"fill": [0.1, 0.2]}, "one for each of the image's 3 channels, got 2"),
        ({"fill": "mean", "images_background": []}, "images_background must be .*at least one, got list of length 0"),
        ({"fill": "mean", "images_background": [np.zeros((24, 32))]}, "must have the 3 channels of the explained"),
        ({"fill": "blur", "images_background": [PIXELS]}, "fill must be left at"),
        ({"seed": -1}, "seed must be None or a whole number of at least 0, got -1"),
        ({"seed": 1.5}, "seed must be None or a whole number of at least 0, got 1.5"),
        ({"max_rows": 0}, "max_rows must be"),
        ({"device": "meta"}, "device must be where the predictor's parameters are"),
        ({"image_shape": 24}, r"image_shape must be \(H, W, C\).*got 24"),
    ],
)
def test_explainers_that_cannot_work(settings: dict[str, Any], words: str, unchecked: None) -> None:
    given = {"predictor": Planted(1), "fill": 0.0, **GRID, **settings}
    if not isinstance(given["segmentation_fn"], str):
        del given["segmentation_kwargs"]
    with pytest.raises(ArgumentError, match=words):
        AnchorImage(**given).explain(photograph())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"p_sample": 0.0}, "p_sample must be a probability"),
        ({"threshold": 1.2}, r"threshold must be a precision in \(0, 1\], got 1.2"),
        ({"delta": 0.0}, "delta must be a probability"),
        ({"tau": 1.0}, "tau must be"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"beam_size": 0}, "beam_size must be"),
        (
            {"method": "greedy"},
            "method must be one of 'auto', 'beam', 'guided', 'coarse_to_fine', 'exact', 'race', got 'greedy'",
        ),
        ({"n_covered_ex": -1}, "n_covered_ex must be"),
        ({"verbose_every": 0}, "verbose_every must be"),
        ({"max_rows_total": 0}, "max_rows_total must be"),
        ({"method": "exact", "max_rows_total": 100}, "needs 4,096 rows, more than max_rows_total"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        explainer_of().explain(photograph(), **settings)
    with pytest.raises(ArgumentError, match=words):
        explainer_of().explain_batch([photograph()], on_error="skip", **settings)  # it is not the image's fault


def test_an_unknown_setting_is_told_at_once_and_ignored() -> None:
    with pytest.warns(AnchorsWarning, match=r"explain has no parameter 'tresholds'; .* Did you mean threshold\?"):
        explanation = explainer_of().explain(photograph(), tresholds=0.5)
    assert facts(explanation) == facts(explainer_of().explain(photograph()))
    with pytest.warns(AnchorsWarning, match="explain_iter has no parameter 'tresholds'"):
        stream = explainer_of().explain_iter([photograph()], tresholds=0.5)
    assert facts(next(stream)) == facts(explanation)


@pytest.mark.parametrize("settings", [{"p_sample": 1.1}, {"threshold": 0.0}, {"on_error": "ignore"}, {"n_workers": -1}])
def test_settings_are_checked_before_any_image_is_asked_for(settings: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=f"{next(iter(settings))} must be"):
        explainer_of().explain_iter((pytest.fail("asked for") for _ in range(1)), **settings)


def test_tables_have_a_method_that_images_have_not() -> None:
    with pytest.raises(ArgumentError, match="'race' needs anchors proposed by a surrogate"):
        explainer_of().explain(photograph(), method="race")


def test_too_many_masks_to_enumerate() -> None:
    many = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 5, "cols": 8}}
    with pytest.raises(ArgumentError, match="'exact' needs 1,099,511,627,776 rows, more than the limit"):
        explainer_of(**many).explain(photograph(), method="exact")


def test_a_model_that_throws_dice_is_explained_by_fresh_answers() -> None:
    """Where superpixel 1 is hidden the label is 1 half of the time."""
    dice = torch.Generator().manual_seed(0)

    def model(rows: Tensor) -> Tensor:
        light = (rows[:, :, 2, 10] > 0.25).all(1)
        return (light | (torch.rand(len(rows), generator=dice) < 0.5)).long()

    explainer = explainer_of(model)
    with pytest.warns(AnchorsWarning, match="every row is predicted anew"):
        explanation = explainer.explain(photograph())
    assert explanation.features == (1,)
    assert explanation.status is Status.CERTIFIED
    with pytest.raises(ArgumentError, match="method must be"):
        explainer.explain(photograph(), method="exact")  # nothing to count


def test_a_prediction_of_nan_is_an_error() -> None:
    with pytest.raises(PredictorReturnTypeError, match=r"NaN for the image itself; there is no label"):
        explainer_of(lambda rows: torch.full((len(rows), 3), torch.nan)).explain(photograph())


def test_the_image_without_a_label_is_named_and_the_others_are_kept() -> None:
    def model(rows: Tensor) -> Tensor:
        light = (rows > 0.25).all(1)[:, 2, 2].float()
        scores = torch.stack([1 - light, light], dim=1)
        return torch.where((rows[:, 0, 23, 31] == 0.125)[:, None], torch.nan, scores)

    images = [photograph(seed=s) for s in range(5)]
    images[3][0, 23, 31] = 0.125
    with pytest.raises(PredictorReturnTypeError, match=r"NaN for the image itself.*image number 3 of") as caught:
        explainer_of(model).explain_batch(images, method="beam")
    assert {0, 1, 2} <= set(caught.value.finished) <= {0, 1, 2, 4}
    explained = explainer_of(model).explain_batch(images, method="beam", label=1)
    assert [one.features for i, one in enumerate(explained) if i != 3] == [(0,)] * 4
    assert len(explained) == 5


def test_scores_are_the_models_probabilities_of_images_of_any_size() -> None:
    def bright(rows: Tensor) -> Tensor:
        mean = rows.mean((1, 2, 3))
        return torch.stack([1 - mean, mean], dim=1)

    explainer = AnchorImage(bright, seed=0, segmentation_fn="grid", preprocess=lambda rows: rows.float() / 255)
    images = [np.full((8, 8, 3), 204, dtype=np.uint8), np.full((9, 8), 51, dtype=np.uint8)]
    assert explainer.scores([explainer.explain(image) for image in images]) == pytest.approx([0.8, 0.8])


def test_digests_tell_what_is_perturbed_and_how() -> None:
    def model(rows: Tensor) -> Tensor:
        return (rows[:, 0, 0, 0] > 0).long()

    def stripes(image: Any) -> Any:
        return np.zeros(image.shape[:2], dtype=np.int64)

    plain = AnchorImage(model).digests()
    assert AnchorImage(model, seed=3, max_rows=7).digests() == plain
    for name, settings in {
        "model": {"preprocess": torch.sigmoid},
        "segmentation_fn": {"segmentation_fn": stripes},
        "fill": {"images_background": np.zeros((1, 4, 4, 3), dtype=np.uint8)},
        "autocast": {"autocast": torch.bfloat16},
    }.items():
        found = AnchorImage(model, **settings).digests()
        assert {key for key in plain if found[key] != plain[key]} == {name}


# ------------------------------------------------------------------------------------- users' code that writes


def test_nothing_that_users_code_writes_to_changes_the_question() -> None:
    def fill(image: Tensor, segments: Tensor) -> Tensor:
        filled = image * 0.5
        image.zero_()
        segments.zero_()
        return filled

    def cut(image: np.ndarray) -> np.ndarray:
        labels = np.arange(image.shape[1])[None].repeat(len(image), 0) // 8
        image[:] = 0
        return labels

    def model(rows: Tensor) -> Tensor:
        labels = (rows[:, :, :, :8].mean((1, 2, 3)) > 100).long()
        rows.zero_()
        return labels

    given = PIXELS.copy()
    settings: dict[str, Any] = {"seed": 0, "dtype": torch.float32}
    untidy = AnchorImage(
        model, fill=fill, segmentation_fn=cut, preprocess=lambda rows: rows.float().add_(1), **settings
    )
    tidy = AnchorImage(
        lambda rows: (rows[:, :, :, :8].mean((1, 2, 3)) > 99).long(),
        fill=lambda image, segments: image * 0.5,
        segmentation_fn=lambda image: np.arange(32)[None].repeat(24, 0) // 8,
        preprocess=lambda rows: rows.float(),
        **settings,
    )
    found, expected = untidy.explain(given), tidy.explain(PIXELS)
    np.testing.assert_array_equal(given, PIXELS)
    np.testing.assert_array_equal(found.segments, expected.segments)
    assert (found.features, found.precision, found.n_rows) == (expected.features, expected.precision, expected.n_rows)
    given[:] = 0
    np.testing.assert_array_equal(found.image, PIXELS)
    np.testing.assert_array_equal(found.anchor, expected.anchor)


def test_infinities_that_a_cast_would_bring_are_caught_before_the_model() -> None:
    def model(rows: Tensor) -> Tensor:
        assert rows.isfinite().all()
        return torch.zeros(len(rows), dtype=torch.int64)

    wide = np.linspace(0, 7e4, 24 * 32, dtype=np.float32).reshape(24, 32)
    for settings, words in (
        ({}, "image must have values from -65504 to 65504"),
        ({"fill": 1e5}, "image must"),
        ({"fill": lambda image, segments: image.double() + 1e300}, "image must"),
    ):
        with pytest.raises(ArgumentError, match=words):
            AnchorImage(model, dtype=torch.float16, seed=0, **settings, **GRID).explain(wide)
    with pytest.raises(ArgumentError, match="fill or images_background must have values from -65504"):
        AnchorImage(model, dtype=torch.float16, seed=0, fill=1e5, **GRID).explain(wide / 2)
    with pytest.raises(ArgumentError, match=r"fill must return .* values beyond torch\.float32"):
        AnchorImage(model, seed=0, dtype=torch.float32, fill=lambda i, s: i.double() + 1e300, **GRID).explain(wide)
    assert AnchorImage(model, dtype=torch.float16, seed=0, **GRID).explain(wide / 2).success


# ------------------------------------------------------------------------------------- many superpixels and pixels


@pytest.mark.parametrize("seed", range(3))
def test_one_superpixel_of_5000_is_found_in_few_rows(seed: int) -> None:
    segments = (np.arange(200)[:, None] // 2) * 50 + np.arange(200)[None] // 4
    image = np.random.default_rng(seed).random((200, 200, 3)).astype(np.float32)
    image[segments == 777] = 1.0
    place = torch.from_numpy(segments == 777)

    def model(rows: Tensor) -> Tensor:
        return (rows[:, :, place].mean((1, 2)) > 0.9).long()

    explainer = AnchorImage(model, dtype=torch.float32, segmentation_fn=segments, fill=0.0, seed=seed)
    started = time.process_time()
    for size in (None, 1000):
        explanation = explainer.explain(image, max_anchor_size=size)
        assert explanation.n_superpixels == 5000
        assert (explanation.features, explanation.status) == ((777,), Status.CERTIFIED)
        assert explanation.n_rows <= 5000
    assert time.process_time() - started < 10


def test_a_large_image_is_told_once_before_it_is_segmented() -> None:
    def unsegmentable(image: np.ndarray) -> np.ndarray:
        raise ValueError("segmented")

    explainer = AnchorImage(lambda rows: rows, dtype=torch.float32, segmentation_fn=unsegmentable, seed=0)
    image = np.ones((2001, 2000), dtype=np.uint8)
    with (
        pytest.warns(AnchorsWarning, match=r"2001 x 2000 pixels .* resize it first.*model\.fit\(image\)"),
        pytest.raises(ArgumentError, match="segmented"),
    ):
        explainer.explain(image)
    for again in (image, image[:2000]):
        with pytest.raises(ArgumentError, match="segmented"):  # a second warning would be an error here
            explainer.explain(again)


# ---------------------------------------------------------------------------------------------------- attribution

LIGHT = torch.full((3, 24, 32), 0.9)


@pytest.mark.parametrize("p_sample", [0.5, 0.3])
def test_marginal_effects_of_an_exact_search_are_those_of_brute_force(p_sample: float) -> None:
    explainer = AnchorImage(Untidy(bright=0.6), fill=0.0, seed=0, **GRID)
    explanation = explainer.explain(LIGHT, method="exact", p_sample=p_sample)
    weights = np.array([9, 1, 7, 2, 1, 8, 1, 2, 1, 6, 1, 2])
    keep = (np.arange(1 << 12)[:, None] >> np.arange(12)) & 1
    hits = (keep @ weights > 20) == (explanation.label == 1)
    shares = np.where(keep, 1 - p_sample, p_sample).prod(axis=1)
    expected = [
        np.average(hits[keep[:, k] == 1], weights=shares[keep[:, k] == 1])
        - np.average(hits[keep[:, k] == 0], weights=shares[keep[:, k] == 0])
        for k in range(12)
    ]
    assert explanation.effects is not None
    np.testing.assert_allclose(explanation.effects, expected, atol=1e-12)
    assert explanation.attribution("marginal")[3, 3] == np.float32(expected[0])


@pytest.mark.parametrize("method", ["beam", "guided", "exact"])
def test_the_attribution_of_a_planted_anchor_points_at_it(method: str) -> None:
    explainer = AnchorImage(Planted(2, 9), fill=0.0, seed=1, **GRID)
    explanation = explainer.explain(LIGHT, method=method)
    n_rows = explainer.predictor.model.n_rows
    marginal = explanation.attribution("marginal")
    assert explainer.predictor.model.n_rows == n_rows, "an attribution asks the model nothing"
    assert np.argsort(-explanation.effects)[:2].tolist() in ([2, 9], [9, 2])
    assert explanation.effects[[2, 9]].min() > 0.3
    assert np.abs(np.delete(explanation.effects, [2, 9])).max() < 0.25
    assert marginal.shape == (24, 32)
    ranks = explanation.attribution()
    assert set(np.unique(ranks[explanation.mask])) == {np.float32(1), np.float32(11 / 12)}
    assert explanation.attribution("member").astype(bool).tolist() == explanation.mask.tolist()


def test_effects_do_not_depend_on_company() -> None:
    explainer = AnchorImage(Untidy(bright=0.6), fill="mean", seed=2, **GRID)
    images = [torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    together = explainer.explain_batch(images, **QUICK)
    for image, explanation in zip(images, together, strict=True):
        alone = explainer.explain(image, **QUICK)
        assert alone.effects.tolist() == explanation.effects.tolist()


def test_the_attribution_of_an_empty_anchor_still_ranks() -> None:
    explanation = AnchorImage(Planted(), fill=0.0, seed=0, **GRID).explain(LIGHT)
    assert explanation.status is Status.EMPTY_HOLDS
    assert (explanation.attribution("marginal") == 0).all()  # nothing ever changed the label
    assert (explanation.attribution("member") == 0).all()
    assert len(np.unique(explanation.attribution())) == 12


def test_effects_know_what_is_fixed_and_mean_the_same_for_both_questions() -> None:
    explainer = AnchorImage(Planted(2, 9), fill=0.0, seed=1, **GRID)
    fixed = explainer.explain(LIGHT, method="exact", fixed=[0, 2])
    assert fixed.effects[[0, 2]].tolist() == [0, 0]
    assert fixed.effects[9] == pytest.approx(1)
    assert fixed.attribution()[fixed.segments == 9].tolist() == [1.0] * 64
    sufficient, necessary = (explainer.explain(LIGHT, method="exact", question=q) for q in ("sufficient", "necessary"))
    np.testing.assert_allclose(necessary.effects, sufficient.effects, atol=1e-12)
    assert necessary.effects[[2, 9]].tolist() == pytest.approx([0.5, 0.5])
