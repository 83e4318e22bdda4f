"""``torch-anchors image``: which parts of a picture make a classifier say what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._extras import import_extra
from torch_anchors.cli import console
from torch_anchors.cli.drawings import save_figure
from torch_anchors.cli.each import each_explained
from torch_anchors.cli.image_explainer import checked_backgrounds, device_of, enough_for, explainer_of, model_of
from torch_anchors.cli.image_options import (
    add_model_options,
    add_part_options,
    add_perturbation_options,
    add_search_options,
    add_value_option,
)
from torch_anchors.cli.json_files import JsonFile, json_file
from torch_anchors.cli.options import add_question_options, add_shared_output_options, target
from torch_anchors.cli.outcome import Outcome
from torch_anchors.cli.picture_task import PictureTask, picture_tasks
from torch_anchors.cli.region import Region
from torch_anchors.errors import AnchorsError
from torch_anchors.images.files import Picture
from torch_anchors.interrupts import finished_first
from torch_anchors.whole_files import check_outputs, remove_partials

if TYPE_CHECKING:
    import torch

    from torch_anchors.images.explanation import ImageExplanation
    from torch_anchors.models import LoadedModel

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
  torch-anchors image cat.jpg --exclude 0 4

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
    add_value_option(parser)
    add_model_options(parser.add_argument_group("model"))
    add_perturbation_options(parser.add_argument_group("perturbation"))
    search = parser.add_argument_group("search")
    add_search_options(search)
    add_question_options(search, "superpixels")
    add_part_options(search)
    search.add_argument(
        "--target",
        type=target,
        metavar="QUESTION",
        help='what counts as the same answer: "TopK(3)" (the class is among the first three), "Bit(4)" (label 4 of '
        'several), "Within(10)" or "Between(1, 5)" (a value), "MaskOverlap()", ... (default: the same class)',
    )
    _add_output_options(parser.add_argument_group("output"))


def _add_output_options(group: Any) -> None:
    group.add_argument(
        "--out",
        type=Path,
        metavar="PNG",
        help="where the explanation is drawn; a folder for several pictures (default: anchor-NAME.png)",
    )
    add_shared_output_options(group)


def run(options: argparse.Namespace) -> Outcome:
    """Explain, draw and tell, as far as that can be done."""
    tasks, unreadable, outcome = _checked(options)
    if tasks:
        with outcome.told_when_it_stops():
            _explain(tasks, unreadable, options, outcome)
    outcome.say_failed()
    return outcome


def _checked(options: argparse.Namespace) -> tuple[list[PictureTask], list[tuple[PictureTask, str]], Outcome]:
    """What can be explained, and what cannot and why, as far as that is known before PyTorch is imported.

    Raises:
        ArgumentError, ImportError: nothing can be.
    """
    backgrounds = checked_backgrounds(options)
    regions = Region.named(options).values()
    import_extra("matplotlib.figure", "demo")
    tasks = picture_tasks(options)
    outputs = [("--out", task.drawing) for task in tasks] + ([("--json", options.json)] if options.json else [])
    also_read = [Path(options.model), options.class_names, *(region.path for region in regions)]
    check_outputs(outputs, [*options.paths, *backgrounds, *(path for path in also_read if path)])
    outcome = Outcome("picture", len(tasks), stops=len(tasks) == 1 or options.on_error == "raise")
    reasons = [_unreadable(task, outcome) for task in tasks]
    remove_partials(path for _, path in outputs)
    readable = [task for task, why in zip(tasks, reasons, strict=True) if why is None]
    return readable, [(task, why) for task, why in zip(tasks, reasons, strict=True) if why is not None], outcome


def _unreadable(task: PictureTask, outcome: Outcome) -> str | None:
    """Why the picture cannot be read, which is said; None where it can, or where that is not seen at once."""
    try:
        task.check()
    except AnchorsError as error:
        outcome.fail(task.title, console.reason(error))
        return console.reason(error)
    return None


def _explain(
    tasks: list[PictureTask], unreadable: list[tuple[PictureTask, str]], options: argparse.Namespace, outcome: Outcome
) -> None:
    device = device_of(options.device)
    model = model_of(options, device)
    explainer, enough = explainer_of(options, model, device), enough_for(model)
    tell = (lambda text: None) if options.quiet else console.say
    plan = [_plan(tasks, model, device)]
    regions = {name: region.as_seen_by(model, enough) for name, region in Region.named(options).items()}
    settings: dict[str, Any] = {
        "threshold": options.threshold,
        "delta": options.delta,
        "method": options.method,
        "max_anchor_size": options.max_anchor_size,
        "target": options.target,
        "question": options.question,
        "n_anchors": options.n_anchors,
        **{name: region.parts for name, region in regions.items()},
    }
    bars = console.has_bars() and not options.quiet

    def load(task: PictureTask) -> Picture:
        picture = task.read(enough)
        for region in regions.values():
            region.check(picture)
        while plan:  # told when there is something to explain
            tell(plan.pop())
        return model.fit(picture)

    def together(pictures: Sequence[Any]) -> Iterator[ImageExplanation]:
        return explainer.explain_iter(pictures, progress=bars, **settings)

    def alone(picture: Picture) -> ImageExplanation:
        return explainer.explain(picture, **settings)

    with json_file(options.json, {"model": model.name}, "pictures") as data:
        for task, why in unreadable:
            data.add_failed({"name": task.name, "file": task.file, "error": why})
        for task, found in each_explained(tasks, load, together, alone):
            if isinstance(found, AnchorsError):
                outcome.fail(task.title, console.reason(found))
                data.add_failed({"name": task.name, "file": task.file, "error": console.reason(found)})
                continue
            with finished_first():
                _record(task, found, data, tell)
                outcome.explained(success=found.success)


def _record(task: PictureTask, explanation: ImageExplanation, data: JsonFile, tell: Callable[[str], None]) -> None:
    """Draw an explanation, add it to the data, and tell it."""
    from torch_anchors.cli.words import cost_in_words, image_in_words

    save_figure(explanation.plot(), task.drawing)
    about = {"name": task.name, "file": task.file, "drawing": str(task.drawing)}
    data.add({**about, **explanation.to_dict()})
    tell(image_in_words(explanation, task.title))
    tell(cost_in_words(explanation, task.drawing))


def _plan(tasks: list[PictureTask], model: LoadedModel, device: torch.device) -> str:
    what, them = (f"{len(tasks)} pictures", "them") if len(tasks) > 1 else (tasks[0].title, "it")
    if tasks[0].path is None:
        what = "coffee, a photograph that comes with scikit-image,"
    height, width = model.input_size
    return f"Explaining {what} with {model.name} on {device}, as it sees {them}: {width} x {height} pixels."
