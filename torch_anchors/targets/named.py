"""Targets by what users write: an object, a function, or text such as "Within(10)"."""

from __future__ import annotations

import ast
import difflib
from typing import Any

from torch_anchors._checks import said
from torch_anchors.errors import ArgumentError
from torch_anchors.targets.classes import Bit, NearestText, TopK
from torch_anchors.targets.regions import MaskOverlap, SameObject
from torch_anchors.targets.target import ARGMAX, Argmax, Comparison, Function, Labelling, Target
from torch_anchors.targets.values import Between, Within

TARGETS: dict[str, type[Target]] = {
    cls.__name__: cls for cls in (Argmax, TopK, Bit, Within, Between, SameObject, MaskOverlap)
}
"""Those that text can name."""


def target_of(given: Any) -> Target:
    """The target that a user means.

    Args:
        given: a target, a function of the model's raw output, or None for `Argmax`.

    Raises:
        ArgumentError: it is none of these, such as a class that was not called.
    """
    if given is None:
        return ARGMAX
    if isinstance(given, (Labelling, Comparison)):
        return given
    if isinstance(given, type) and issubclass(given, Target):
        raise ArgumentError(f"target must be an object, as in {given.__name__}(...), got the class {given.__name__}.")
    if not callable(given):
        listed = ", ".join([*TARGETS, NearestText.__name__])
        raise ArgumentError(
            f"target must be one of {listed}, or a function of the model's raw output that returns a label for each "
            f"row, got {said(given)}. The number or name of a class is given as label=..."
        )
    return Function(given)


def parsed_target(text: str) -> Target:
    """The target that text such as "Within(10)" or "Between(low=1, high=5)" names.

    Raises:
        ArgumentError: it names none, or not with numbers that it takes.

    Example:
        >>> parsed_target("TopK(3)")
        TopK(k=3, label=None)
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    call = ast.Call(call, [], []) if isinstance(call, ast.Name) else call
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise ArgumentError(f"target must be such as Within(10), TopK(3) or Bit(4), got {text!r}.")
    name = call.func.id
    if name not in TARGETS:
        close = difflib.get_close_matches(name, TARGETS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ArgumentError(f"target must be one of {', '.join(TARGETS)}, got {name!r}.{hint}")
    try:
        values = [ast.literal_eval(value) for value in call.args]
        named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
        return TARGETS[name](*values, **named)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"target cannot be {text!r}: {str(error).replace('__init__', name)}") from error
