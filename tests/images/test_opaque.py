"""Pictures without transparent parts; `tests/images/test_pixels.py` has what is read of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from torch_anchors.images.opaque import opaque


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_in_grey_or_colour_is_taken_as_it_is(mode: str) -> None:
    image = Image.new(mode, (2, 1))
    assert opaque(image) is image


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(mode: str) -> None:
    nothing, half = 0, 128
    for alpha, expected in ((nothing, 255), (half, 127), (255, 0)):
        image = Image.new(mode, (2, 1), (*[0] * (len(mode) - 1), alpha))
        assert np.unique(np.asarray(opaque(image))).tolist() == [expected]
        assert opaque(image).mode == "RGB"
