"""Superpixels that a user names: by their numbers, or by a picture that is white where they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors.errors import ArgumentError
from torch_anchors.images.files import Picture, check_picture, read_picture

if TYPE_CHECKING:
    from torch_anchors.models import LoadedModel

ALIKE = 0.02
"""Largest difference in the ratio of height to width, as a share, of pictures that have the same shape."""


@dataclass(frozen=True, slots=True)
class Region:
    """Some superpixels of each picture.

    Args:
        option: by which the user names them.
        numbers: of them, where they are named so.
        path: of a picture that is white where they are, otherwise.
    """

    option: str
    numbers: tuple[int, ...] = ()
    path: Path | None = None

    @classmethod
    def of(cls, options: argparse.Namespace, name: str) -> Region | None:
        """What the option `name` says; None where it says nothing.

        Raises:
            ArgumentError: it names several pictures, pictures and numbers, or a picture that cannot be read.
        """
        given: Sequence[str] | None = getattr(options, name)
        if not given:
            return None
        if all(word.isdecimal() for word in given):
            return cls(f"--{name}", tuple(map(int, given)))
        if len(given) > 1:
            raise ArgumentError(f"--{name} must be numbers of superpixels or one picture, got {' '.join(given)}")
        path = Path(given[0])
        check_picture(path)
        return cls(f"--{name}", path=path)

    @classmethod
    def named(cls, options: argparse.Namespace) -> dict[str, Region]:
        """What the options `fixed` and `exclude` say, by these names.

        Raises:
            ArgumentError: as `of`.
        """
        return {name: region for name in ("fixed", "exclude") if (region := cls.of(options, name))}

    def as_seen_by(self, model: LoadedModel, enough: int) -> SeenRegion:
        """The region of pictures as the model sees them."""
        return SeenRegion(self, None if self.path is None else read_picture(self.path, enough=enough), model)


class SeenRegion:
    """A region of pictures as a model sees them.

    Args:
        region: that the user names.
        picture: that is white there; None where the region has numbers.
        model: which says how pictures are resized and cropped.
    """

    def __init__(self, region: Region, picture: Picture | None, model: LoadedModel) -> None:
        self._region, self._picture = region, picture
        self.parts: Any = region.numbers if picture is None else model.fit(picture).mean(axis=2) > 127
        """Numbers of superpixels, or a mask (H, W) of what the model sees."""

    def check(self, picture: Picture) -> None:
        """Complains of a picture of another shape than that which says where the region is."""
        if self._picture is None:
            return
        (height, width), (own_height, own_width) = picture.shape[:2], self._picture.shape[:2]
        if abs(height * own_width / (width * own_height) - 1) > ALIKE:
            raise ArgumentError(
                f"{self._region.option} must be a picture of the same height and width, and {self._region.path} is "
                f"of another shape: {own_width} x {own_height} pixels, this one {width} x {height}"
            )
