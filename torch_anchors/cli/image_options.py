"""Options about pictures, of all commands that explain them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch_anchors.cli.options import add_promise_options, add_trust_option, value_or_word, whole_number, word_of
from torch_anchors.errors import ArgumentError
from torch_anchors.images.files import ValueRange

SEGMENTATIONS = ("slic", "slic_torch", "felzenszwalb", "quickshift", "grid", "hierarchy")
FILLS = ("mean", "blur", "infill", "noise", "constant")
METHODS = ("auto", "beam", "guided", "coarse_to_fine", "exact")


def add_model_options(group: Any) -> None:
    """Which model, and what stands between pictures and it."""
    group.add_argument(
        "--model",
        default="efficientnet-lite0",
        metavar="NAME",
        help="efficientnet-lite0 (the default, which needs no download), timm:NAME, torchvision:NAME, "
        "hf:DIR (a folder of transformers), or an ONNX, TorchScript or torch.export file",
    )
    add_trust_option(group)
    group.add_argument("--input-size", type=whole_number, metavar="N", help="height and width that it takes")
    three = {"type": float, "nargs": 3, "metavar": ("R", "G", "B")}
    group.add_argument("--mean", **three, help="of its input, on the scale 0..1 (a file: ImageNet's)")
    group.add_argument("--std", **three, help="of its input, on the scale 0..1 (a file: ImageNet's)")
    group.add_argument("--class-names", type=Path, metavar="FILE", help="names of its classes, one a line")
    group.add_argument("--device", metavar="NAME", help="such as cpu or cuda:0 (default: a GPU if there is one)")
    group.add_argument(
        "--max-rows",
        type=value_or_word(whole_number, "auto"),
        default="auto",
        metavar="N",
        help="most perturbed pictures in one call of the model (default: measured)",
    )


def add_perturbation_options(group: Any) -> None:
    """What is hidden of a picture, and what hidden parts show."""
    group.add_argument(
        "--segments",
        type=word_of(SEGMENTATIONS),
        choices=SEGMENTATIONS,
        default="slic",
        help="how superpixels are made (default: slic); hierarchy: large ones first, cut where it matters",
    )
    group.add_argument(
        "--n-segments", type=whole_number, metavar="N", help="about how many (slic, grid; of hierarchy the large ones)"
    )
    group.add_argument(
        "--fill",
        type=value_or_word(float, *FILLS),
        metavar="NAME",
        help="what hidden superpixels show: their mean colour (the default), blur, infill (from what is shown around "
        "them), noise, constant (black), or a grey value 0..255",
    )
    group.add_argument("--background", type=Path, metavar="DIR", help="show a random picture of this folder instead")


def add_value_option(group: Any) -> None:
    """What the values of pictures with more than 8 bits a channel mean."""
    group.add_argument(
        "--value-range",
        type=float,
        nargs=2,
        metavar=("BLACK", "WHITE"),
        help="values of pictures with more than 8 bits a channel that are black and white, such as 0 65535; what is "
        "beyond is black or white, too",
    )


def value_range_of(options: argparse.Namespace) -> ValueRange | None:
    """What the user says of these values.

    Raises:
        ArgumentError: they are no range.
    """
    if options.value_range is None:
        return None
    black, white = options.value_range
    if not black < white:
        raise ArgumentError(f"--value-range must be a number and a larger one, got {black:g} {white:g}")
    return black, white


def add_part_options(group: Any) -> None:
    """What always stays visible, and what no anchor may have."""
    parts: dict[str, Any] = {"nargs": "+", "metavar": "PART"}
    group.add_argument(
        "--fixed",
        **parts,
        help="superpixels that always stay visible, and so are in no anchor: their numbers, as in the drawing, or a "
        "picture of the same shape that is white there",
    )
    group.add_argument(
        "--exclude",
        **parts,
        help="superpixels, named in the same way, that are hidden like others, but are in no anchor",
    )


def add_search_options(group: Any) -> None:
    """What is asked of an anchor, and how it is searched."""
    add_promise_options(group, "perturbed pictures")
    group.add_argument(
        "--method",
        type=word_of(METHODS),
        choices=METHODS,
        default="auto",
        help="sample by labels (beam), or led by scores (guided); try all combinations (exact); the latter if they are "
        "few, and otherwise guided or, with --segments hierarchy, coarse_to_fine (auto, the default)",
    )
    group.add_argument("--max-anchor-size", type=whole_number, metavar="N", help="most superpixels in an anchor")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the perturbations (default: 0)")
