"""``torch-anchors image``: which parts of a picture make a classifier say what it says."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._extras import import_extra
from torch_anchors.cli.console import say
from torch_anchors.cli.options import share, value_or_word, whole_number
from torch_anchors.cli.pictures import check_picture, distinct_names, pictures_in, read_picture
from torch_anchors.errors import ArgumentError

if TYPE_CHECKING:
    import torch

    from torch_anchors.image import AnchorImage
    from torch_anchors.models import LoadedModel

SEGMENTATIONS = ("slic", "slic_torch", "felzenszwalb", "quickshift", "grid")
FILLS = ("mean", "blur", "noise", "constant")
METHODS = ("auto", "beam", "exact")
SUFFIXES = (".png", ".pdf", ".svg", ".jpg")

DESCRIPTION = """\
Find an anchor of each picture: the superpixels that make the model say what it says. While they are
visible, the model says the same in at least the share THRESHOLD of perturbed pictures, in which the
other superpixels are hidden at random. Without a PATH, a photograph that comes with scikit-image is
explained.

A picture is first resized and cropped to what the model takes, and perturbed at that size."""

EXAMPLES = """\
examples:
  torch-anchors image
  torch-anchors image cat.jpg --model timm:resnet50.a1_in1k --segments grid --n-segments 16
  torch-anchors image photos/*.jpg --background textures/ --out explained/ --json explained.json

"""


def add_parser(subparsers: Any, exit_status: str) -> None:
    """Add the subcommand with its options to the parser of the command."""
    parser = subparsers.add_parser(
        "image",
        usage="torch-anchors image [PATH ...] [OPTION ...]",
        help="pictures that a classifier labels",
        description=DESCRIPTION,
        epilog=EXAMPLES + exit_status,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="picture to explain")
    _add_model_options(parser.add_argument_group("model"))
    _add_perturbation_options(parser.add_argument_group("perturbation"))
    _add_search_options(parser.add_argument_group("search"))
    _add_output_options(parser.add_argument_group("output"))


def _add_model_options(group: Any) -> None:
    group.add_argument(
        "--model",
        default="efficientnet-lite0",
        metavar="NAME",
        help="efficientnet-lite0 (the default, which needs no download), timm:NAME, torchvision:NAME, "
        "or a TorchScript or torch.export file",
    )
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


def _add_perturbation_options(group: Any) -> None:
    group.add_argument(
        "--segments", choices=SEGMENTATIONS, default="slic", help="how superpixels are made (default: slic)"
    )
    group.add_argument("--n-segments", type=whole_number, metavar="N", help="about how many (slic, grid)")
    group.add_argument(
        "--fill",
        type=value_or_word(float, *FILLS),
        metavar="NAME",
        help="what hidden superpixels show: their mean colour (the default), blur, noise, constant (black), "
        "or a grey value 0..255",
    )
    group.add_argument("--background", type=Path, metavar="DIR", help="show a random picture of this folder instead")


def _add_search_options(group: Any) -> None:
    group.add_argument("--threshold", type=share, default=0.95, metavar="P", help="precision (default: 0.95)")
    group.add_argument(
        "--delta", type=share, default=0.1, metavar="P", help="allowed chance of being wrong (default: 0.1)"
    )
    group.add_argument(
        "--method",
        choices=METHODS,
        default="auto",
        help="sample (beam), try all combinations (exact), or the latter if they are few (auto, the default)",
    )
    group.add_argument("--max-anchor-size", type=whole_number, metavar="N", help="most superpixels in an anchor")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the perturbations (default: 0)")


def _add_output_options(group: Any) -> None:
    group.add_argument(
        "--out",
        type=Path,
        metavar="PNG",
        help="where the explanation is drawn; a folder for several pictures (default: anchor-NAME.png)",
    )
    group.add_argument("--json", type=Path, metavar="FILE", help="write the explanations as data, too")
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")


def run(options: argparse.Namespace) -> bool:
    """Explain, draw and tell; whether an anchor was found for every picture."""
    names, drawings = _checked(options)

    from torch_anchors.cli.words import cost_in_words, image_in_words
    from torch_anchors.plots import plot_image

    device = _device(options.device)
    model = _model(options, device)
    pictures = [model.fit(read_picture(path)) for path in options.paths] or [model.fit(_bundled())]
    explainer = _explainer(options, model, device)
    tell = (lambda text: None) if options.quiet else say
    tell(_plan(names, model, device, bundled=not options.paths))
    found = explainer.explain_iter(
        pictures,
        threshold=options.threshold,
        delta=options.delta,
        method=options.method,
        max_anchor_size=options.max_anchor_size,
        progress=not options.quiet,
    )
    explanations = []
    for name, drawing, explanation in zip(names, drawings, found, strict=True):
        drawing.parent.mkdir(parents=True, exist_ok=True)
        plot_image(explanation, model.class_names, path=drawing)
        tell(image_in_words(explanation, name, model.class_names))
        tell(cost_in_words(explanation, drawing))
        explanations.append(explanation)
    if options.json:
        _write_json(options.json, names, explanations, model)
    return all(explanation.success for explanation in explanations)


def _checked(options: argparse.Namespace) -> tuple[list[str], list[Path]]:
    """What the pictures are called and where each explanation is drawn.

    Raises:
        ArgumentError, ImportError: for all that can be known to be wrong before PyTorch is imported.
    """
    backgrounds = pictures_in(options.background) if options.background else []
    for path in [*options.paths, *backgrounds]:
        check_picture(path)
    if backgrounds and options.fill is not None:
        raise ArgumentError("--fill and --background exclude each other: both say what hidden superpixels show")
    _segmentation_settings(options.segments, options.n_segments)
    import_extra("matplotlib.figure", "demo")
    names = distinct_names(options.paths) or ["coffee"]
    return names, _drawings(options.out, names)


def _explainer(options: argparse.Namespace, model: LoadedModel, device: torch.device) -> AnchorImage:
    from torch_anchors.image import AnchorImage

    backgrounds = pictures_in(options.background) if options.background else []
    return AnchorImage(
        model.module,
        segmentation_fn=options.segments,
        segmentation_kwargs=_segmentation_settings(options.segments, options.n_segments),
        images_background=[model.fit(read_picture(path)) for path in backgrounds] or None,
        seed=options.seed,
        fill="mean" if options.fill is None else options.fill,
        preprocess=model.preprocess,
        device=device,
        max_rows=options.max_rows,
    )


def _bundled() -> Any:
    from skimage.data import coffee

    return coffee()  # type: ignore[no-untyped-call]


def _drawings(out: Path | None, names: list[str]) -> list[Path]:
    """Where each explanation is drawn."""
    if out is not None and out.suffix:
        if len(names) > 1:
            raise ArgumentError(f"--out must be a folder for {len(names)} pictures, got {out}")
        if out.suffix.lower() not in SUFFIXES:
            raise ArgumentError(f"--out must end in one of {', '.join(SUFFIXES)}, got {out}")
        return [out]
    return [(out or Path()) / f"anchor-{name}.png" for name in names]


def _segmentation_settings(segments: str, n_segments: int | None) -> dict[str, int] | None:
    if n_segments is None:
        return None
    if segments == "grid":
        rows = max(1, round(math.sqrt(n_segments)))
        return {"rows": rows, "cols": math.ceil(n_segments / rows)}
    if segments in ("slic", "slic_torch"):
        return {"n_segments": n_segments}
    raise ArgumentError(f"--n-segments is for slic and grid; {segments} finds out itself how many there are")


def _model(options: argparse.Namespace, device: torch.device) -> LoadedModel:
    """The model, with what the user knows better about its input and its classes."""
    from torch_anchors.models import load_image_model

    model = load_image_model(options.model, device=device)
    known: dict[str, Any] = {}
    if options.input_size:
        known["input_size"] = (options.input_size, options.input_size)
    if options.mean:
        known["mean"] = tuple(options.mean)
    if options.std:
        known["std"] = tuple(options.std)
    names = model.class_names
    if options.class_names:
        names = tuple(options.class_names.read_text(encoding="utf-8").splitlines())
    preprocess = dataclasses.replace(model.preprocess, **known)
    return dataclasses.replace(model, preprocess=preprocess, class_names=names)


def _device(name: str | None) -> torch.device:
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device  # with its number, as a module's parameters have it
    except (RuntimeError, AssertionError) as error:  # as PyTorch says that it is not there
        reason = str(error).splitlines()[0]
        raise ArgumentError(f"--device {name} cannot be used here: {reason}") from error


def _plan(names: list[str], model: LoadedModel, device: torch.device, *, bundled: bool) -> str:
    what = f"{len(names)} pictures" if len(names) > 1 else names[0]
    if bundled:
        what = "coffee, a photograph that comes with scikit-image,"
    height, width = model.input_size
    return f"Explaining {what} with {model.name} on {device}, as it sees it: {width} x {height} pixels."


def _write_json(path: Path, names: list[str], explanations: list[Any], model: LoadedModel) -> None:
    pictures = []
    for name, explanation in zip(names, explanations, strict=True):
        label_name = model.class_names[explanation.label] if model.class_names else None
        pictures.append({"name": name, **explanation.to_dict(), "label_name": label_name})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"model": model.name, "pictures": pictures}, indent=1) + "\n", encoding="utf-8")
