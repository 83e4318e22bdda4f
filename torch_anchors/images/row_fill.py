"""A fill that is another one in each perturbed row, made when the row is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from torch_anchors._shapes import Float, Int


class RowFill(ABC):
    """What absent superpixels show, made for each row instead of once for the image.

    Attributes:
        shape: (backgrounds, channels, height, width), where the backgrounds are how many equally likely rows there are
            of one mask.
        keys: numbers of 32 bits of which, with the image, it can be made again; as many as no other kind has.
    """

    shape: tuple[int, ...]
    keys: tuple[int, ...]

    @abstractmethod
    def rows(
        self, shown: Float[Tensor, "rows 1 height width"], numbers: Int[Tensor, " rows"] | None
    ) -> Float[Tensor, "rows channels height width"]:
        """The fill of each row, in the image's dtype and on its device; nothing waits for the device.

        Args:
            shown: 1 where the row shows the image, 0 elsewhere. What is returned there is not looked at.
            numbers: of the rows' backgrounds; None where there is only one.
        """
