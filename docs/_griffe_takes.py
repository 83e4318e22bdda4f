"""What mkdocstrings, which reads source without running it, cannot see there: an extension of griffe.

The methods that are decorated with ``takes(Question)`` have the parameters of the question, and their documentation,
only once they are decorated; they are shown as ``help`` shows them. An ``Example:`` becomes a section of its own.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parent.parent


class Takes(griffe.Extension):
    """Gives what is decorated with ``takes`` its signature and its docstring at run time."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        if any(str(decorator.value).startswith("takes(") for decorator in func.decorators):
            decorated = griffe.dynamic_import(func.path, import_paths=[ROOT, *sys.path])
            func.parameters = griffe.Parameters(
                *(_parameter(own, func) for own in inspect.signature(decorated).parameters.values())
            )
            if func.docstring is not None:  # it knows how it is to be parsed
                func.docstring.value = inspect.getdoc(decorated) or ""
            func.decorators = []

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)


def _parameter(own: inspect.Parameter, func: griffe.Function) -> griffe.Parameter:
    annotation = None
    if own.annotation is not inspect.Parameter.empty:
        parsed = ast.parse(str(own.annotation), mode="eval").body
        annotation = griffe.safe_get_annotation(parsed, parent=func)
    default = None if own.default is inspect.Parameter.empty else repr(own.default)
    return griffe.Parameter(
        own.name, annotation=annotation, kind=griffe.ParameterKind(own.kind.description), default=default
    )
