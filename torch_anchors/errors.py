"""The errors and warnings that the package raises on purpose."""

from __future__ import annotations


class AnchorsError(Exception):
    """Base class of the errors of this package."""


class ArgumentError(AnchorsError, ValueError):
    """An argument was not what the function can work with.

    The message names the argument, what was expected, what came and what to do about it.
    """


class NotFittedError(AnchorsError, RuntimeError):
    """A method that needs ``fit`` was called before it."""


class PredictorCallError(AnchorsError, RuntimeError):
    """The user's predictor raised an exception; the original one is the ``__cause__``."""


class PredictorReturnTypeError(AnchorsError, TypeError):
    """The user's predictor returned something from which no labels can be read."""


class AnchorsWarning(UserWarning):
    """Something works, but probably not as the user meant it."""


def words_of(error: BaseException) -> str:
    """An error's type and message; of one whose message cannot be had, its type alone."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # the user's own class, with a broken __str__
        return type(error).__name__
