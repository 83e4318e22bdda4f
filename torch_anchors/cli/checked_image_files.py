"""Pictures in files that must have the shape of a picture which says where a region of them is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch_anchors.cli.region import SeenRegion
from torch_anchors.datasets.image_files import ImageFiles
from torch_anchors.datasets.sources import Entry, Inputs


class CheckedImageFiles(ImageFiles):
    """Pictures in files; one that has another shape than a picture of a region is refused.

    Args:
        regions: of all pictures.
    """

    def __init__(self, *args: Any, regions: Iterable[SeenRegion], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._regions = tuple(regions)

    def read(self, entries: Sequence[Entry]) -> Inputs:
        """The pictures.

        Raises:
            ArgumentError: one of them has another shape.
        """
        inputs = super().read(entries)
        for picture in inputs.given:
            for region in self._regions:
                region.check(picture)
        return inputs
