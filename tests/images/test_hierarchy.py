"""Superpixels within superpixels, and explanations of images that are cut into them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from skimage import data
from skimage.measure import label as components_of
from skimage.transform import resize

from torch_anchors import AnchorImage
from torch_anchors.errors import ArgumentError
from torch_anchors.images.hierarchy import LEAST_PIXELS, hierarchy
from torch_anchors.images.segmentation import segment, superpixels

PHOTOGRAPHS = {
    name: resize(getattr(data, name)(), (96, 128), anti_aliasing=True) for name in ("coffee", "astronaut", "chelsea")
}


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_superpixels_of_a_level_are_parts_of_those_of_the_level_before(name: str) -> None:
    found = hierarchy(PHOTOGRAPHS[name])
    n = found.labels.max() + 1
    assert np.array_equal(np.unique(found.labels), np.arange(n))
    assert len(found.levels) == 2
    maps = [level[found.labels] for level in found.levels] + [found.labels]
    for coarse, fine in pairwise(maps):
        assert all(len(np.unique(coarse[fine == part])) == 1 for part in np.unique(fine))
        assert fine.max() > coarse.max()
    for level in found.levels:
        assert level.shape == (n,)
        assert np.array_equal(level, np.sort(level)), "parts of one follow each other"


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_superpixels_are_of_about_one_size_and_in_one_piece(name: str) -> None:
    found = hierarchy(PHOTOGRAPHS[name])
    sizes = np.bincount(found.labels.ravel())
    assert 90 <= len(sizes) <= 160
    assert np.median(sizes) == pytest.approx(96 * 128 / 128, rel=0.3)
    assert sizes.min() > 10
    in_one_piece = [components_of(found.labels == k, connectivity=2).max() == 1 for k in range(len(sizes))]
    assert np.mean(in_one_piece) > 0.9


def test_the_coarsest_level_is_slic() -> None:
    image = PHOTOGRAPHS["coffee"]
    found = hierarchy(image, n_segments=6, n_levels=2, compactness=20)
    expected = segment(image, "slic", {"n_segments": 6, "compactness": 20})
    assert np.array_equal(found.levels[0][found.labels], expected)


@pytest.mark.parametrize(("n_levels", "n_children", "n"), [(1, 4, 8), (2, 4, 32), (3, 2, 32), (4, 3, 216)])
def test_settings_say_how_many_there_are(n_levels: int, n_children: int, n: int) -> None:
    found = hierarchy(PHOTOGRAPHS["coffee"], n_levels=n_levels, n_children=n_children)
    assert found.labels.max() + 1 == pytest.approx(n, rel=0.3)
    assert len(found.levels) == n_levels - 1


@pytest.mark.parametrize("image", [np.zeros((3, 4, 3)), np.full((40, 50, 3), 0.3), np.zeros((1, 1, 3))])
def test_images_without_any_contrast_or_hardly_a_pixel_are_cut_as_well(image: np.ndarray) -> None:
    found = hierarchy(image)
    sizes = np.bincount(found.labels.ravel())
    assert sizes.min() >= 1
    assert len(sizes) <= max(12, image[..., 0].size / LEAST_PIXELS * 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_segments", 0), ("n_children", 1), ("n_levels", 0), ("compactness", 0), ("sigma", -1)],
)
def test_settings_out_of_range_are_told(name: str, value: float) -> None:
    with pytest.raises(ArgumentError, match=f"{name} must be"):
        hierarchy(PHOTOGRAPHS["coffee"], **{name: value})
    with pytest.raises(ArgumentError, match=f"{name} must be"):
        superpixels(PHOTOGRAPHS["coffee"], "hierarchy", {name: value})


# ------------------------------------------------------------------------------------------------- explanations


class Dots(torch.nn.Module):
    """Class 1 where at least half of a bright dot is shown, with logits."""

    def __init__(self, y: int, x: int) -> None:
        super().__init__()
        yy, xx = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        self.dot = ((yy - y) ** 2 + (xx - x) ** 2 <= 36).float()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        share = (images[:, 0] * self.dot).sum((1, 2)) / self.dot.sum()
        return torch.stack([torch.zeros_like(share), 10 * (share - 0.6)], dim=1)


def pictures(n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [0.8 + 0.2 * torch.rand(3, 64, 64, generator=generator) for _ in range(n)]


def explainer_of(model: object, **settings: object) -> AnchorImage:
    return AnchorImage(model, segmentation_fn="hierarchy", fill=0.0, seed=3, **settings)


def true_precision(model: torch.nn.Module, found: object, image: torch.Tensor, necessary: bool = False) -> float:
    """By 2,000 rows that hide each of the finest superpixels outside the anchor by itself."""
    segments = torch.from_numpy(found.segments.astype(np.int64))
    shown = torch.rand(2000, int(segments.max()) + 1, generator=torch.Generator().manual_seed(9)) < 0.5
    shown[:, list(found.features)] = not necessary
    labels = model(image * shown[:, segments].float()[:, None]).argmax(1)
    return float((labels != 1 if necessary else labels == 1).float().mean())


@pytest.mark.parametrize("question", ["sufficient", "necessary"])
def test_the_anchor_is_one_of_the_finest_superpixels_and_truly_reaches_the_threshold(question: str) -> None:
    model = Dots(20, 40)
    for image in pictures(3):
        found = explainer_of(model).explain(image, question=question)
        assert found.success
        assert found.segments.max() + 1 > 80
        assert true_precision(model, found, image, question == "necessary") > 0.94
        assert np.isin(found.segments, found.features).mean() < 0.1
        assert found.meta["params"]["segmentation_fn"] == "hierarchy"


def test_an_explanation_is_the_same_alone_in_a_batch_and_one_by_one() -> None:
    explainer, images = explainer_of(Dots(30, 30)), pictures(4)
    alone = [explainer.explain(image) for image in images]
    together = explainer.explain_batch(images)
    one_by_one = list(explainer_of(Dots(30, 30), max_rows=7).explain_iter(iter(images)))
    for expected, *others in zip(alone, together, one_by_one, strict=True):
        for other in others:
            assert (other.features, other.precision, other.n_rows) == (
                expected.features,
                expected.precision,
                expected.n_rows,
            )
            assert np.array_equal(other.segments, expected.segments)


def test_a_model_of_labels_is_explained_too() -> None:
    model = Dots(44, 20)
    (image,) = pictures(1)
    found = explainer_of(lambda rows: model(rows).argmax(1)).explain(image)
    assert found.success
    assert true_precision(model, found, image) > 0.94


def test_fixed_and_excluded_superpixels_are_in_no_anchor() -> None:
    model = Dots(20, 40)
    (image,) = pictures(1)
    whole = explainer_of(model).explain(image)
    segments = whole.segments
    fixed, excluded = whole.features[:1], whole.features[-1:]
    found = explainer_of(model).explain(image, fixed=list(fixed), exclude=list(excluded))
    assert found.fixed == fixed
    assert found.excluded == excluded
    assert not set(found.features) & {*fixed, *excluded}
    assert np.array_equal(found.segments, segments)


def test_several_anchors_have_nothing_in_common() -> None:
    class Either(Dots):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.maximum(super().forward(images), Dots(48, 12)(images))

    (image,) = pictures(1)
    found = explainer_of(Either(16, 48)).explain(image, n_anchors=2)
    first, *others = found.anchors
    assert first.success
    assert all(not set(first.features) & set(other.features) for other in others)
    assert found.n_rows < 5000  # where no other one is left, no beam search among a hundred predicates follows


def test_a_budget_of_rows_is_kept() -> None:
    (image,) = pictures(1)
    for most in (1, 20, 60, 150):
        found = explainer_of(Dots(20, 40)).explain(image, max_rows_total=most)
        assert found.n_rows <= most


@pytest.mark.parametrize("method", ["guided", "beam"])
def test_other_methods_see_the_finest_superpixels_only(method: str) -> None:
    (image,) = pictures(1)
    settings = {"segmentation_kwargs": {"n_segments": 4, "n_levels": 2}}
    found = explainer_of(Dots(20, 40), **settings).explain(image, method=method)
    assert found.success
    assert 4 < found.segments.max() + 1 <= 20


def test_the_method_needs_a_hierarchy() -> None:
    (image,) = pictures(1)
    explainer = AnchorImage(Dots(20, 40), segmentation_fn="slic", seed=0)
    with pytest.raises(ArgumentError, match="segmentation_fn='hierarchy'"):
        explainer.explain(image, method="coarse_to_fine")


def test_the_finest_superpixels_are_what_generate_superpixels_gives() -> None:
    (image,) = pictures(1)
    explainer = explainer_of(Dots(20, 40))
    assert np.array_equal(explainer.generate_superpixels(image), explainer.explain(image).segments)
