"""What a target is: a question about a model's output, and when two rows have the same answer to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from torch_anchors._checks import is_whole, said
from torch_anchors._shapes import Float, Shaped
from torch_anchors.errors import ArgumentError


class Target(ABC):
    """What counts as the same answer; see `Labelling` and `Comparison` for the two kinds.

    A target holds settings only, is hashable, and does not wait for the device.

    Attributes:
        as_list: whether a model of images is given a list of tensors (C, H, W), as detection models want it, in place
            of one tensor (N, C, H, W).
        class_names: what the classes are called, where the target is about some and somebody says.
        no_answer: what is wrong with an instance for which the model gives no answer; "{unit}" stands for its kind.
    """

    as_list: bool = False
    class_names: Sequence[str] | Mapping[int, str] | None = None
    no_answer: ClassVar[str] = (
        "The predictor returned NaN for the {unit} itself; there is no label to explain. Leave it out, or pass the "
        "label to explain."
    )

    @abstractmethod
    def name_of(self, label: int, explained: Shaped[Tensor, "1 ..."] | None = None) -> str | None:
        """What a label is called, as in "the model answers ..."; None where it has no name but its number.

        Args:
            label: of a row.
            explained: what `Comparison.explained` gave for the instance; None for a short name, and for a `Labelling`.
        """

    def named(self, class_names: Sequence[str] | Mapping[int, str] | None) -> Target:
        """This target, which calls classes by their names if it is about some and has no names for them yet."""
        return self

    @property
    def names(self) -> Mapping[int, str]:
        """Short names of the labels, as far as they have some."""
        named = {label: self.name_of(label) for label in (0, 1)}
        return {label: name for label, name in named.items() if name is not None}


class Labelling(Target):
    """A target that gives each row a label by itself, whatever is explained. Equal labels are the same answer."""

    @abstractmethod
    def labels(self, output: Any, n: int, device: torch.device) -> Any:
        """What a predictor of such labels would return for the output of `n` rows: labels, one logit, or scores.

        Raises:
            PredictorReturnTypeError: the output is not about such a question.
        """


class Comparison(Target):
    """A target that compares the answer to each row with that to the instance. The label is 1 for the same answer."""

    @abstractmethod
    def answers(self, output: Any, n: int, device: torch.device) -> Shaped[Tensor, "rows ..."]:
        """What the model says of each of `n` rows, (n, ...) on the device, as far as it matters.

        Raises:
            PredictorReturnTypeError: the output is not about such a question.
        """

    @abstractmethod
    def explained(self, answers: Shaped[Tensor, "1 ..."]) -> Shaped[Tensor, "1 ..."]:
        """What is explained of the answer to the instance."""

    @abstractmethod
    def agreement(
        self, answers: Shaped[Tensor, "rows ..."], explained: Shaped[Tensor, "rows ..."]
    ) -> Float[Tensor, " rows"]:
        """How clearly each answer is the same as what is explained of its instance.

        At least 0 where it is the same, below 0 where it is not, and NaN where there is no answer. Anchors are ranked
        by it, as by a classifier's margins.
        """

    @abstractmethod
    def said(self, explained: Shaped[Tensor, "1 ..."]) -> dict[str, Any]:
        """What the model said of the instance, as plain values that can be stored."""


@dataclass(frozen=True)
class OfClasses(Target):
    """A target about some of the model's classes.

    Args:
        class_names: what the classes are called, by their numbers; explainers fill in those that they were given.
    """

    class_names: Sequence[str] | Mapping[int, str] | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", checked_names(self.class_names))

    def named(self, class_names: Sequence[str] | Mapping[int, str] | None) -> Target:
        return self if class_names is None or self.class_names is not None else replace(self, class_names=class_names)

    def class_name(self, number: int, kind: str = "class") -> str:
        """The name of a class, or "class 7" where it has none; another `kind` than "class" may be meant."""
        names = self.class_names or {}
        known = names if isinstance(names, Mapping) else dict(enumerate(names))
        return known.get(number, f"{kind} {number}")

    def said_of(self, number: int) -> dict[str, Any]:
        """What is said of a class: its number, and its name where it has one."""
        name = self.class_name(number)
        return {"class": number} if name == f"class {number}" else {"class": number, "class_name": name}


@dataclass(frozen=True)
class Argmax(Labelling):
    """The class with the largest score, or the label that the predictor returns: what is explained unless one says.

    Args:
        class_names: what the classes are called, by their numbers; explainers fill in those that they were given.
    """

    class_names: Sequence[str] | Mapping[int, str] | None = field(default=None, repr=False, compare=False)

    def labels(self, output: Any, n: int, device: torch.device) -> Any:
        return output

    def name_of(self, label: int, explained: Tensor | None = None) -> str | None:
        return self.names.get(label)

    @property
    def names(self) -> Mapping[int, str]:
        names = self.class_names or ()
        return names if isinstance(names, Mapping) else dict(enumerate(names))


ARGMAX = Argmax()


def checked_names(class_names: Any) -> Sequence[str] | Mapping[int, str] | None:
    """Names of classes: one for each, or by their numbers.

    Raises:
        ArgumentError: they are none.
    """
    if class_names is None:
        return None
    if isinstance(class_names, Mapping):
        names, numbers = list(class_names.values()), list(class_names)
    else:
        is_several = isinstance(class_names, Iterable) and not isinstance(class_names, (str, bytes))
        names, numbers = (list(class_names) if is_several else [None]), []
    if not all(isinstance(name, str) for name in names) or not all(map(is_whole, numbers)):
        raise ArgumentError(
            f"class_names must be a text for each class, or texts by the numbers of classes, got {said(class_names)}."
        )
    return {int(k): name for k, name in class_names.items()} if isinstance(class_names, Mapping) else tuple(names)


@dataclass(frozen=True)
class Function(Labelling):
    """A function of the raw output for a batch that returns one comparable value per row: a label, or a name.

    Where it returns scores (N, classes), the largest is the label.
    """

    function: Callable[[Any], Any]

    def labels(self, output: Any, n: int, device: torch.device) -> Any:
        return self.function(output)

    def name_of(self, label: int, explained: Tensor | None = None) -> None:
        return None

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)
