"""``torch-anchors image``: which parts of a picture make a classifier say what it says."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._extras import import_extra
from torch_anchors.cli import console
from torch_anchors.cli.drawings import check_drawing, save_figure
from torch_anchors.cli.each import each_explained
from torch_anchors.cli.json_files import JsonFile, json_file
from torch_anchors.cli.options import (
    add_question_options,
    add_shared_output_options,
    add_trust_option,
    share,
    target,
    value_or_word,
    whole_number,
    word_of,
)
from torch_anchors.cli.outcome import Outcome
from torch_anchors.errors import AnchorsError, ArgumentError
from torch_anchors.images.files import Picture, check_picture, distinct_names, pictures_in, read_picture
from torch_anchors.interrupts import finished_first
from torch_anchors.whole_files import check_outputs, remove_partials

if TYPE_CHECKING:
    import torch

    from torch_anchors.images.anchor_image import AnchorImage
    from torch_anchors.images.explanation import ImageExplanation
    from torch_anchors.models import LoadedModel

SEGMENTATIONS = ("slic", "slic_torch", "felzenszwalb", "quickshift", "grid")
FILLS = ("mean", "blur", "infill", "noise", "constant")
METHODS = ("auto", "beam", "guided", "exact")

ENOUGH = 4
"""Times the size that the model takes: larger pictures are read at a fraction of their size."""

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
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="picture to explain")
    add_model_options(parser.add_argument_group("model"))
    add_perturbation_options(parser.add_argument_group("perturbation"))
    search = parser.add_argument_group("search")
    add_search_options(search)
    add_question_options(search, "superpixels")
    search.add_argument(
        "--target",
        type=target,
        metavar="QUESTION",
        help='what counts as the same answer: "TopK(3)" (the class is among the first three), "Bit(4)" (label 4 of '
        'several), "Within(10)" or "Between(1, 5)" (a value), "MaskOverlap()", ... (default: the same class)',
    )
    _add_output_options(parser.add_argument_group("output"))


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
        help="how superpixels are made (default: slic)",
    )
    group.add_argument("--n-segments", type=whole_number, metavar="N", help="about how many (slic, grid)")
    group.add_argument(
        "--fill",
        type=value_or_word(float, *FILLS),
        metavar="NAME",
        help="what hidden superpixels show: their mean colour (the default), blur, infill (from what is shown around "
        "them), noise, constant (black), or a grey value 0..255",
    )
    group.add_argument("--background", type=Path, metavar="DIR", help="show a random picture of this folder instead")


def add_search_options(group: Any) -> None:
    """What is asked of an anchor, and how it is searched."""
    group.add_argument("--threshold", type=share, default=0.95, metavar="P", help="precision (default: 0.95)")
    group.add_argument(
        "--delta", type=share, default=0.1, metavar="P", help="allowed chance of being wrong (default: 0.1)"
    )
    group.add_argument(
        "--method",
        type=word_of(METHODS),
        choices=METHODS,
        default="auto",
        help="sample by labels (beam), or led by scores (guided); try all combinations (exact); the latter if they are "
        "few, and otherwise guided (auto, the default)",
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
    add_shared_output_options(group)


@dataclasses.dataclass(frozen=True, slots=True)
class _Task:
    """A picture to explain.

    Args:
        path: of its file; None for the one that comes with scikit-image.
        name: what it is called in the data.
        title: what it is called in sentences; with its path where another one has the same name.
        drawing: where its explanation is drawn.
    """

    path: Path | None
    name: str
    title: str
    drawing: Path


def run(options: argparse.Namespace) -> Outcome:
    """Explain, draw and tell, as far as that can be done."""
    tasks, unreadable, outcome = _checked(options)
    if tasks:
        with outcome.told_when_it_stops():
            _explain(tasks, unreadable, options, outcome)
    outcome.say_failed()
    return outcome


def _explain(
    tasks: list[_Task], unreadable: list[tuple[_Task, str]], options: argparse.Namespace, outcome: Outcome
) -> None:
    device = device_of(options.device)
    model = model_of(options, device)
    explainer = explainer_of(options, model, device)
    tell = (lambda text: None) if options.quiet else console.say
    plan = [_plan(tasks, model, device)]
    settings: dict[str, Any] = {
        "threshold": options.threshold,
        "delta": options.delta,
        "method": options.method,
        "max_anchor_size": options.max_anchor_size,
        "target": options.target,
        "question": options.question,
        "n_anchors": options.n_anchors,
    }
    bars = console.has_bars() and not options.quiet

    def load(task: _Task) -> Picture:
        picture = _read(task, model)
        while plan:  # told when there is something to explain
            tell(plan.pop())
        return picture

    def together(pictures: Sequence[Any]) -> Iterator[ImageExplanation]:
        return explainer.explain_iter(pictures, progress=bars, **settings)

    def alone(picture: Picture) -> ImageExplanation:
        return explainer.explain(picture, **settings)

    with json_file(options.json, {"model": model.name}, "pictures") as data:
        for task, why in unreadable:
            data.add_failed({"name": task.name, "file": _file(task), "error": why})
        for task, found in each_explained(tasks, load, together, alone):
            if isinstance(found, AnchorsError):
                outcome.fail(task.title, console.reason(found))
                data.add_failed({"name": task.name, "file": _file(task), "error": console.reason(found)})
                continue
            with finished_first():
                _record(task, found, data, tell)
                outcome.explained(success=found.success)


def _record(task: _Task, explanation: ImageExplanation, data: JsonFile, tell: Callable[[str], None]) -> None:
    """Draw an explanation, add it to the data, and tell it."""
    from torch_anchors.cli.words import cost_in_words, image_in_words

    save_figure(explanation.plot(), task.drawing)
    about = {"name": task.name, "file": _file(task), "drawing": str(task.drawing)}
    data.add({**about, **explanation.to_dict()})
    tell(image_in_words(explanation, task.title))
    tell(cost_in_words(explanation, task.drawing))


def _file(task: _Task) -> str | None:
    return None if task.path is None else str(task.path)


def _read(task: _Task, model: LoadedModel) -> Picture:
    """The picture as the model sees it."""
    return model.fit(_bundled() if task.path is None else read_picture(task.path, enough=enough_for(model)))


def checked_backgrounds(options: argparse.Namespace) -> list[Path]:
    """The pictures to show for hidden parts, after all that the options say of perturbed pictures was looked at.

    Raises:
        ArgumentError: an option cannot be used.
    """
    backgrounds = pictures_in(options.background) if options.background else []
    for path in backgrounds:
        check_picture(path)
    if backgrounds and options.fill is not None:
        raise ArgumentError("--fill and --background exclude each other: both say what hidden superpixels show")
    if options.std and not all(value > 0 for value in options.std):
        raise ArgumentError(f"--std must be numbers above 0, got {' '.join(map(str, options.std))}")
    _segmentation_settings(options.segments, options.n_segments)
    return backgrounds


def enough_for(model: LoadedModel) -> int:
    """Length that the shorter side of a picture needs at most for the model."""
    preprocess = model.preprocess
    return ENOUGH * (preprocess.resize if preprocess.resize is not None else min(preprocess.input_size))


def _checked(options: argparse.Namespace) -> tuple[list[_Task], list[tuple[_Task, str]], Outcome]:
    """What can be explained, and what cannot and why, as far as that is known before PyTorch is imported.

    Raises:
        ArgumentError, ImportError: nothing can be.
    """
    backgrounds = checked_backgrounds(options)
    import_extra("matplotlib.figure", "demo")
    tasks = _tasks(options)
    outputs = [("--out", task.drawing) for task in tasks] + ([("--json", options.json)] if options.json else [])
    read = [*options.paths, *backgrounds, Path(options.model), *([options.class_names] if options.class_names else [])]
    check_outputs(outputs, read)
    outcome = Outcome("picture", len(tasks), stops=len(tasks) == 1 or options.on_error == "raise")
    reasons = [_unreadable(task, outcome) for task in tasks]
    remove_partials(path for _, path in outputs)
    readable = [task for task, why in zip(tasks, reasons, strict=True) if why is None]
    return readable, [(task, why) for task, why in zip(tasks, reasons, strict=True) if why is not None], outcome


def _unreadable(task: _Task, outcome: Outcome) -> str | None:
    """Why the picture cannot be read, which is said; None where it can, or where that is not seen at once."""
    try:
        if task.path is not None:
            check_picture(task.path)
    except AnchorsError as error:
        outcome.fail(task.title, console.reason(error))
        return console.reason(error)
    return None


def _tasks(options: argparse.Namespace) -> list[_Task]:
    """The pictures, each with a name and a drawing of its own."""
    if not options.paths:
        (drawing,) = _drawings(options.out, ["coffee"])
        return [_Task(None, "coffee", "coffee", drawing)]
    names = distinct_names(options.paths)
    alike = Counter(path.stem.casefold() for path in options.paths)
    titles = [
        name if alike[path.stem.casefold()] == 1 else f"{name} ({path})"
        for name, path in zip(names, options.paths, strict=True)
    ]
    return [_Task(*parts) for parts in zip(options.paths, names, titles, _drawings(options.out, names), strict=True)]


def explainer_of(options: argparse.Namespace, model: LoadedModel, device: torch.device) -> AnchorImage:
    """What explains pictures as the options say."""
    from torch_anchors.images.anchor_image import AnchorImage

    backgrounds = pictures_in(options.background) if options.background else []
    shown = [_read(_Task(path, path.stem, path.stem, path), model) for path in backgrounds]
    return AnchorImage(
        model.module,
        segmentation_fn=options.segments,
        segmentation_kwargs=_segmentation_settings(options.segments, options.n_segments),
        images_background=shown or None,
        seed=options.seed,
        fill="mean" if options.fill is None else options.fill,
        preprocess=model.preprocess,
        device=device,
        class_names=model.class_names,
        max_rows=options.max_rows,
    )


def _bundled() -> Any:
    from skimage.data import coffee

    return coffee()  # type: ignore[no-untyped-call]


def _drawings(out: Path | None, names: list[str]) -> list[Path]:
    """Where each explanation is drawn."""
    if out is not None and out.suffix and not out.is_dir():
        if len(names) > 1:
            raise ArgumentError(f"--out must be a folder for {len(names)} pictures, got {out}")
        check_drawing(out)
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


def model_of(options: argparse.Namespace, device: torch.device) -> LoadedModel:
    """The model, with what the user knows better about its input and its classes."""
    from torch_anchors.models import load_image_model

    model = load_image_model(options.model, device=device, trust=options.trust)
    known: dict[str, Any] = {}
    if options.input_size:
        known["input_size"] = (options.input_size, options.input_size)
    if options.mean:
        known["mean"] = tuple(options.mean)
    if options.std:
        known["std"] = tuple(options.std)
    names = _class_names(options.class_names) if options.class_names else model.class_names
    preprocess = dataclasses.replace(model.preprocess, **known)
    return dataclasses.replace(model, preprocess=preprocess, class_names=names)


def _class_names(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise ArgumentError(f"--class-names must be a text file in UTF-8, and {path} is not: {error}") from error


def device_of(name: str | None) -> torch.device:
    """The device of that name, or a GPU if there is one.

    Raises:
        ArgumentError: it cannot be used here.
    """
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device  # with its number, as a module's parameters have it
    except (RuntimeError, AssertionError) as error:  # as PyTorch says that it is not there
        reason = str(error).splitlines()[0]
        raise ArgumentError(f"--device {name} cannot be used here: {reason}") from error


def _plan(tasks: list[_Task], model: LoadedModel, device: torch.device) -> str:
    what = f"{len(tasks)} pictures" if len(tasks) > 1 else tasks[0].title
    if tasks[0].path is None:
        what = "coffee, a photograph that comes with scikit-image,"
    height, width = model.input_size
    return f"Explaining {what} with {model.name} on {device}, as it sees it: {width} x {height} pixels."
