"""Small pictures that a page holds itself: a photograph, and the anchor that lies on it."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from scipy import ndimage

from torch_anchors._shapes import Bool

LONGEST = 240
"""Pixels of the longer side."""

MOST_BYTES = 16_000
"""Of a photograph; one with more detail is kept less exactly."""

_QUALITIES = (82, 65, 45, 25, 10)
_CLEAR, _HIDDEN, _EDGE, _OUTLINE = range(4)
_COLOURS = ((0, 0, 0, 0), (16, 16, 16, 150), (20, 20, 20, 255), (240, 165, 0, 255))
"""Red, green, blue and opacity of what the anchor shows, of what it hides, and of the two lines between them."""


def photograph(picture: Image.Image) -> str:
    """The picture as a JPEG in a data URI, its longer side at most `LONGEST`."""
    small = picture.convert("RGB")
    small.thumbnail((LONGEST, LONGEST), reducing_gap=2.0)
    for quality in _QUALITIES:
        file = io.BytesIO()
        small.save(file, "JPEG", quality=quality)
        if file.tell() <= MOST_BYTES:
            break
    return _uri(file, "jpeg")


def overlay(mask: Bool[np.ndarray, "height width"]) -> str:
    """What dims all that the anchor does not show, and outlines the rest, as a PNG in a data URI."""
    scale = LONGEST / max(mask.shape)
    small = Image.fromarray(mask).resize((max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))))
    shown = np.asarray(small, dtype=bool)
    values = np.full(shown.shape, _HIDDEN, dtype=np.uint8)
    values[ndimage.binary_dilation(shown)] = _EDGE
    values[shown] = _OUTLINE
    values[ndimage.binary_erosion(shown, iterations=2)] = _CLEAR  # the picture's own edges are outlined as well
    image = Image.fromarray(values)
    image.putpalette([value for colour in _COLOURS for value in colour[:3]])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=bytes(colour[3] for colour in _COLOURS), optimize=True)
    return _uri(file, "png")


def _uri(file: io.BytesIO, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
