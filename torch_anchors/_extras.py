"""Import of packages that only some parts need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def import_extra(module: str, extra: str) -> ModuleType:
    """The imported module, or an ImportError that says which extra of this package installs it.

    Args:
        module: dotted name, such as ``"matplotlib.figure"``.
        extra: name of the extra in this project's ``pyproject.toml``.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # installed, but something that it needs itself is not
        message = f'This needs the package {package}. Install it with: pip install "torch-anchors[{extra}]"'
        raise ImportError(message, name=package) from error
