"""Colours as the eye tells them apart: CIE 1976 L*a*b* of sRGB images, as tensor operations."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Float

# CIE XYZ of linear sRGB (IEC 61966-2-1), each row over the white point D65 of the 2 degree observer.
_XYZ_OVER_WHITE = (
    (0.412453 / 0.95047, 0.357580 / 0.95047, 0.180423 / 0.95047),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883),
)


def rgb_to_lab(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """L* in 0..100, a* and b* of images in the range [0, 1].

    Added number by number: a matrix product may round otherwise for another batch or another device.
    """
    curved = images.add(0.055).div_(1.055).pow_(2.4)
    red, green, blue = torch.where(images > 0.04045, curved, images / 12.92).unbind(1)
    xyz = torch.stack([r * red + g * green + b * blue for r, g, b in _XYZ_OVER_WHITE], dim=1)
    x, y, z = torch.where(xyz > 0.008856, xyz.pow(1 / 3), xyz * 7.787 + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
