"""Many images on one figure; `tests/test_explanations.py` has the rest."""

from __future__ import annotations

from tests.figures import check_legible, words
from tests.images.explained import explanation_of_quarters, photograph
from torch_anchors.images.grid import draw_grid
from torch_anchors.search.protocol import Status


def test_images_of_any_shape_have_their_place_and_their_words() -> None:
    explanations = [
        explanation_of_quarters(photograph(48, 64)),
        explanation_of_quarters(photograph(90, 30), status=Status.NOT_FOUND),
        explanation_of_quarters(photograph(10, 80), features=(), status=Status.EMPTY_HOLDS),
        explanation_of_quarters(photograph(48, 64), status=Status.EXACT, interval=(0.98, 0.98)),
    ]
    for columns in (1, 2, 3, 6):
        figure = draw_grid(explanations, columns=columns)
        check_legible(figure)
        assert len(figure.axes) == 4
    assert {"no anchor found", "precision ≥ 0.951,…"} < set(words(figure))
