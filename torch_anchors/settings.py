"""The parameters of ``explain``, each spelled and documented once, and the methods that take them.

A wing's *question* is a dataclass whose fields are the parameters of its ``explain``: what is explained, what only this
wing asks, and the settings that all share. `takes` gives a method the fields of a question as its parameters, for
``help``, editors and type checkers alike.
"""

from __future__ import annotations

import difflib
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch

from torch_anchors._checks import MOST, flag, is_whole, one_of, said, whole
from torch_anchors.delivery import ON_ERROR
from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.search.choose import checked_method
from torch_anchors.search.protocol import NECESSARY, QUESTIONS, SUFFICIENT, SearchConfig
from torch_anchors.targets.named import target_of

MOST_WORKERS = 1000
"""Most threads that make instances ready."""

MOST_ANCHORS = 100
"""Most anchors to look for: of so many, each has a hundredth of delta."""

NO_SETTING = {"is_setting": False}
"""Metadata of a question's field that is no setting: what is explained, and how one waits for it."""


@dataclass(frozen=True)
class ExplainSettings:
    """Parameters of ``explain``, with the names and defaults of the reference; the last ones are ours.

    Args:
        threshold: the precision that the anchor must reach, in (0, 1].
        delta: 1 - delta is the confidence of that promise and of each selection of candidates, in (0, 1).
        tau: how far, in precision, a selected candidate may be from the best one, in (0, 1).
        batch_size: most rows that one request of a search asks for.
        coverage_samples: has no effect any more. Coverage is exact: (1 - p_sample) ** size for images, the share of
            training rows where the anchor holds for tables.
        beam_size: how many candidates the beam search extends at each size.
        stop_on_first: return the first anchor that is certified, without trying to shorten it.
        max_anchor_size: most predicates in the anchor; None for no bound, or 3 where rules are counted. All rules of
            up to 3 conditions are counted; of larger ones, those that extend the most promising.
        min_samples_start: rows drawn for each selected anchor before its extensions may be given up.
        n_covered_ex: how many hits and how many misses of the anchor the explanation keeps as examples.
        binary_cache_size: has no effect any more. The memory of drawn rows grows by itself.
        cache_margin: has no effect any more.
        verbose: write a line about the search to standard error as it goes.
        verbose_every: write every so many rounds.
        method: "beam" is the paper's search, by sampling, and the one that `tau`, `beam_size` and `min_samples_start`
            are about. "guided" is that search, led by the margins of a predictor that returns scores: it takes
            fewer rows, and what it accepts is tested in the same way. "coarse_to_fine" is for images with
            ``segmentation_fn="hierarchy"``: it learns from large superpixels which small ones matter. "exact" counts:
            every perturbed copy of an image, or, for tables with conditional sampling, all conjunctions on the training
            rows. "race" certifies anchors that a surrogate of the model proposes (tables with interventional sampling).
            "auto" takes what suits: counting for conditional tables, the race for interventional ones, "exact" for
            images where it costs no more than sampling, "coarse_to_fine" where there is a hierarchy, and otherwise
            "guided".
        label: the label to explain, by its number or, where the predictor returns names, by its name; None for the one
            that the predictor gives the instance.
        max_rows_total: most rows sent to the model in the whole search; None for no bound.
        target: what counts as the same answer: `Argmax`, `TopK`, `Bit`, `Within`, `Between`, `SameObject`,
            `MaskOverlap` or `NearestText` of `torch_anchors.targets`, or a function of the model's raw output for a
            batch that returns a label for each row. None for `Argmax`.
        n_anchors: how many anchors to look for. Each further one has no superpixel, or no column of a table, in common
            with those before; with probability 1 - `delta` all that is said of any of them is true. They are
            ``explanation.anchors``, and may be fewer: only the first is ever reported without being certified.
    """

    threshold: float = 0.95
    delta: float = 0.1
    tau: float = 0.15
    batch_size: int = 100
    coverage_samples: int = 10000
    beam_size: int = 1
    stop_on_first: bool = False
    max_anchor_size: int | None = None
    min_samples_start: int = 100
    n_covered_ex: int = 10
    binary_cache_size: int = 10000
    cache_margin: int = 1000
    verbose: bool = False
    verbose_every: int = 1
    _: KW_ONLY
    method: str = "auto"
    label: int | str | None = None
    max_rows_total: int | None = None
    target: Any = None
    n_anchors: int = 1

    def __post_init__(self) -> None:
        whole("n_anchors", self.n_anchors, least=1, most=MOST_ANCHORS)
        checked_method(self.method)
        object.__setattr__(self, "target", target_of(self.target))
        for name in ("n_covered_ex", "coverage_samples", "binary_cache_size", "cache_margin"):
            whole(name, getattr(self, name), most=MOST)
        whole("verbose_every", self.verbose_every, least=1)
        flag("verbose", self.verbose)
        if self.label is not None and not (isinstance(self.label, str) or is_whole(self.label)):
            raise ArgumentError(f"label must be None, the whole number of a class or its name, got {said(self.label)}.")
        self.config(torch.device("cpu"))  # raises for what the search cannot work with

    def config(self, device: torch.device) -> SearchConfig:
        """The settings of the search itself.

        A round costs its latency on a GPU and hundreds of rows hardly more, while on a CPU every row costs.
        """
        round_rows = 16 if device.type == "cpu" else min(128, self.batch_size)
        shared = {f.name: getattr(self, f.name) for f in fields(SearchConfig) if hasattr(self, f.name)}
        return SearchConfig(**shared, round_rows=round_rows)

    def params(self) -> dict[str, Any]:
        """The settings as a dictionary, for an explanation's metadata; `n_anchors` only where there are several."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("is_setting", True)}
        if self.n_anchors == 1:
            del named["n_anchors"]
        return {**named, "target": repr(self.target)}


@dataclass(frozen=True)
class OneQuestion(ExplainSettings):
    """What ``explain`` takes besides the instance; a wing's question puts its instance first.

    Args:
        progress: show a progress bar.
    """

    _: KW_ONLY
    progress: bool = field(default=False, metadata=NO_SETTING)

    def __post_init__(self) -> None:
        super().__post_init__()
        flag("progress", self.progress)


@dataclass(frozen=True)
class ManyQuestion(OneQuestion):
    """What ``explain_batch`` and ``explain_iter`` take besides the instances; a wing's question puts these first.

    Args:
        n_workers: threads that make instances ready (decode and segment images) ahead of the model; 0 for none, None
            for 4 beside a GPU and none on a CPU, which the model keeps busy.
        on_error: what to do with an instance that cannot be explained (NaN, another number of channels, a model that
            fails on it alone): "raise" ends the work with its error when its turn comes, "skip" leaves it out with a
            warning that names it by number. The others are explained either way.
    """

    _: KW_ONLY
    n_workers: int | None = field(default=None, metadata=NO_SETTING)
    on_error: str = field(default="raise", metadata=NO_SETTING)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("on_error", self.on_error, ON_ERROR)
        whole("n_workers", self.n_workers, most=MOST_WORKERS, or_none=True)


@dataclass(frozen=True)
class Contrast(ExplainSettings):
    """What a wing's question may offer besides, by inheriting from this as well.

    Args:
        question: "sufficient" asks for the fewest parts (superpixels, columns) that keep the label while they are
            shown, whatever the others show. "necessary" asks for the fewest that change it while they are hidden,
            whatever the others show.
        fixed: parts that are always shown, and so are in no anchor.
        exclude: parts that are shown or hidden like all others, but are in no anchor.
    """

    _: KW_ONLY
    question: str = SUFFICIENT
    fixed: Any = None
    exclude: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("question", self.question, QUESTIONS)

    def params(self) -> dict[str, Any]:
        """As of all settings; of these here only what is not as usual, so that older metadata says the same."""
        params = super().params()
        contrast = {name: params.pop(name) for name in ("question", "fixed", "exclude")}
        if contrast.pop("question") == NECESSARY:
            params["question"] = NECESSARY
        return params | {name: self.parts_in_words(parts) for name, parts in contrast.items() if parts is not None}

    def parts_in_words(self, parts: Any) -> Any:
        """What metadata says of the parts that were given."""
        return parts


Parameters = ParamSpec("Parameters")
Asked = TypeVar("Asked", bound=OneQuestion)
Answered = TypeVar("Answered")


def takes(
    question: Callable[Parameters, Asked],
) -> Callable[[Callable[[Any, Asked], Answered]], Callable[Concatenate[Any, Parameters], Answered]]:
    """Makes a method of a question one of the question's fields: ``help``, editors and type checkers see these.

    Example:
        >>> class Greeter:
        ...     @takes(OneQuestion)
        ...     def threshold(self, question):
        ...         return question.threshold
        >>> Greeter().threshold(0.5)
        0.5
    """
    parameters = inspect.signature(question).parameters

    def decorate(method: Callable[[Any, Asked], Answered]) -> Callable[Concatenate[Any, Parameters], Answered]:
        own = inspect.signature(method)
        signature = own.replace(parameters=[own.parameters["self"], *parameters.values()])

        @wraps(method)
        def taking(self: Any, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Answered:
            drop_unknown(kwargs, method.__name__, list(parameters))
            try:
                signature.bind(self, *args, **kwargs)
            except TypeError as error:  # as Python says it of the method itself, not of the question
                raise TypeError(f"{method.__name__}(): {error}") from None
            return method(self, question(*args, **kwargs))

        taking.question = question  # type: ignore[attr-defined]
        taking.__signature__ = signature  # type: ignore[attr-defined]
        taking.__doc__ = "\n".join([inspect.getdoc(method) or "", "", "Args:", *_documented(question)])
        return taking

    return decorate


def drop_unknown(given: dict[str, Any], method: str, known: list[str]) -> None:
    """Drops what the method has no parameter for, with a warning: code written for the reference may give more."""
    for name in sorted(set(given) - set(known)):
        del given[name]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else f" It has {', '.join(known)}."
        warnings.warn(f"{method} has no parameter {name!r}; it is ignored.{hint}", AnchorsWarning, stacklevel=3)


def _documented(question: Any) -> Iterator[str]:
    """The lines that document a question's fields, from the docstrings of its classes, in the order of the fields."""
    of_name: dict[str, list[str]] = {}
    for cls in reversed(inspect.getmro(question)):
        _, _, arguments = (inspect.cleandoc(cls.__doc__ or "")).partition("Args:\n")
        name = ""
        for line in arguments.split("\n\n")[0].split("\n"):
            if line[:4] == "    " and line[4:5].strip() and ":" in line:
                name = line.strip().partition(":")[0]
                of_name[name] = []
            if name:
                of_name[name].append(line)
    for parameter in inspect.signature(question).parameters:
        yield from of_name.get(parameter, [])
