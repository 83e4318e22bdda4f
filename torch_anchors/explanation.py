"""What explanations of all kinds share: frozen results, and their words, dictionaries and files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from torch_anchors._shapes import Float
from torch_anchors.attribution import attribution
from torch_anchors.errors import ArgumentError
from torch_anchors.found_anchor import FoundAnchor, several_in_words
from torch_anchors.packing import Fields, pack_array, pack_number
from torch_anchors.partial_anchors import packed_step, partial_anchors, predicates_entered, step_of
from torch_anchors.path_picture import draw_path
from torch_anchors.search.protocol import QUESTIONS, SUFFICIENT, Status, Step
from torch_anchors.store import Document
from torch_anchors.words import LabelNames, at_least, at_most, label_name, plural

_REMEDIES = {
    Status.NOT_FOUND: "No anchor reached the threshold; this is the best that was found. A larger max_anchor_size, "
    "a lower threshold or other {predicates} may help.",
    Status.ROW_BUDGET: "The row budget was spent before an anchor was certified; this is the best so far. A larger "
    "max_rows_total continues the search.",
    Status.COUNTED: "It was chosen for its count on the training rows, so that is no promise for other rows. More "
    "rows, such as fit(..., unlabelled=rows), or a lower threshold may certify a rule.",
}
_CERTAINTY = (
    "No sample shows that a precision is exactly 1; ask for threshold=0.99 or, for an image of few superpixels, have "
    "all perturbed copies tried with method='exact'."
)

Some = TypeVar("Some", bound="Explanation")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Explanation:
    """What is common to the explanations of images and of table rows.

    Attributes:
        features: ids of the anchor's predicates (superpixels, or conditions of the row), sorted.
        names: the same in words.
        precision: estimate of P(same label | anchor holds), in [0, 1]; exact if `status` is EXACT.
        precision_interval: bounds that hold the true precision with probability 1 - `delta`, however long the search
            was and whenever it stopped.
        coverage: P(anchor holds), in [0, 1].
        status: how the search ended.
        label: the explained label: its number, or its name where the predictor returns class names.
        label_name: the name alone, where the predictor returns class names.
        answer: what the model answers for the instance itself, as `label`; it is the label unless another one was given
            to explain. None where the model returned NaN for it, and in explanations saved by earlier versions.
        question: "sufficient", or "necessary" for an anchor that changes the label while its parts are hidden; then
            precisions are shares of rows with another label.
        fixed: ids of the parts (superpixels, or columns) that always stayed as they are.
        excluded: ids of the parts that no anchor was allowed to have.
        threshold: the precision that was asked for.
        delta: 1 - confidence.
        n_rows: rows that were sent to the model for this explanation; not those that it answered once for all, as the
            training rows of a table.
        n_calls: forward passes in which they were; other explanations of a batch may have shared them.
        seconds: from the first row drawn to the end of the search, shared with the other explanations of a batch.
        path: partial anchors from the empty one to this, each with its precision and coverage.
        effects: how much each feature (superpixel, or column) adds to the chance of the explained label, (features,),
            from rows that were predicted anyway; an estimate, which no certificate is about. Of the question
            "necessary" it is how much hiding it adds to the chance of another label, which is the same. None in
            explanations that were saved before there were any. See `attribution`.
        others: further anchors that have no part in common with this one or with each other, where ``n_anchors`` asked
            for several; see `anchors`.
        meta: name and parameters of the explainer, as in the reference.
        target: what counts as the same answer, as in "Within(tolerance=10.0)"; see `torch_anchors.targets`.
        said: what the model said of the instance, where that is more than a label: a value, the box of an object.
        answer_names: what labels are called: by the target, or the `class_names` of the explainer. Of many classes,
            those that the explanation shows.
    """

    kinds: ClassVar[dict[str, type[Explanation]]] = {}
    """All classes of explanations that were imported, by the names that files have for them."""
    kind_of_anchor: ClassVar[type[FoundAnchor]] = FoundAnchor
    """What `others` are."""
    part: ClassVar[str] = "predicate"
    """What an anchor is made of."""

    features: tuple[int, ...]
    names: tuple[str, ...]
    precision: float
    precision_interval: tuple[float, float]
    coverage: float
    status: Status
    label: int | str
    label_name: str | None = None
    answer: int | str | None = None
    question: str = SUFFICIENT
    fixed: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    threshold: float
    delta: float
    n_rows: int
    n_calls: int
    seconds: float
    path: tuple[Step, ...]
    effects: Float[np.ndarray, " features"] | None = None
    others: tuple[FoundAnchor, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    target: str = "Argmax()"
    said: Mapping[str, Any] = field(default_factory=dict)
    answer_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the precision reaches the threshold with the promised confidence."""
        return self.status.success

    @property
    def anchors(self) -> tuple[FoundAnchor, ...]:
        """All anchors that were found, the explanation's own first; with ``n_anchors`` = 1 it is the only one."""
        return (self._own_anchor(), *self.others)

    @property
    def label_words(self) -> str:
        """The label's name, or "label 3" where it has none."""
        return self.label_name if self.label_name is not None else f"label {self.label}"

    @property
    def nearest_miss(self) -> Any:
        """Of all rows that were tried, the one of another label with the fewest changes to the instance.

        It has `changed`, ids of what differs from the instance, and its `label`. None where there is no such row, or
        where a kind of explanation cannot tell.
        """
        return None

    def called(self, label_names: LabelNames = None) -> str:
        """The label as a picture or the command line calls it, in quotation marks if it is the name of a class.

        Args:
            label_names: the name of each class; None for the one that the explanation knows itself.
        """
        if self.answer_names and not self.is_about_classes:
            return self.label_words
        return label_name(self.label, self.names_of_labels(label_names))

    @property
    def is_about_classes(self) -> bool:
        """Whether labels are the predictor's own classes, and not answers to another target."""
        return self.target == "Argmax()"

    def in_words(self, label: int | str) -> str:
        """The short name of another label, or "label 3" where it has none."""
        return label if isinstance(label, str) else self.answer_names.get(label, f"label {label}")

    def names_of_labels(self, label_names: LabelNames = None) -> LabelNames:
        """What labels are called, in few words: by a target, by a user's names, or as the predictor does.

        Args:
            label_names: the user's name of each class.
        """
        if label_names is not None and (self.is_about_classes or not self.answer_names):
            return label_names
        if self.answer_names or self.label_name is None:
            return self.answer_names
        return {self.label: self.label_name}

    @property
    def remark(self) -> str:
        """What limits the use of a found anchor, and the remedy, in a sentence or two; "" where there is nothing."""
        return ""

    def attribution(self, kind: str = "order") -> Float[np.ndarray, " features"]:
        """A number for each feature, (features,) float32, for tools that rank features or draw them by such numbers.

        Args:
            kind: "order" (the default) ranks all features, in (0, 1]: the anchor's first, from the one that the search
                added first, then the others by their effects. No two are equal. "marginal" is each feature's effect on
                precision, in about [-1, 1]: how much more often the label is kept where the feature is as in the
                instance than where it is not, all else at random. It is 0 for all where nothing changed the label.
                "member" is 1 in the anchor and 0 elsewhere, which is constant where the anchor is empty.

        Of several anchors (``n_anchors``) the first one is meant. What is ``fixed`` has no effect.

        Raises:
            ArgumentError: there is no such kind, or the explanation has no effects.
        """
        return attribution(kind, self._known_effects(), self._features_entered())

    def _known_effects(self) -> Float[np.ndarray, " features"]:
        if self.effects is None:
            raise ArgumentError(
                "explanation must have effects for an attribution: this one was saved by an older version, or its "
                "predictor was never asked. Explain the instance again."
            )
        return self.effects

    def _features_entered(self) -> list[set[int]]:
        """The anchor's features as the search added them, together those that it added together."""
        return self._entered()

    def _entered(self) -> list[set[int]]:
        """The anchor's predicates as the search added them."""
        return predicates_entered(self._partial())

    @classmethod
    def plot_many(cls, explanations: Sequence[Any], *, columns: int = 4, path: str | Path | None = None) -> Any:
        """A figure of several explanations of this kind; see `Explanations.plot`. A kind of explanation has its own."""
        raise ArgumentError(f"Explanations of the kind {cls.__name__} cannot be drawn together.")

    def plot_path(self, *, ax: Any = None, path: str | Path | None = None) -> Any:
        """Figure of precision and coverage against the size of the anchor, as wide as a column. Needs matplotlib.

        It has the partial anchors of the search, from the empty one on; the last one's bar is its interval.

        Args:
            ax: axes of a figure of yours to draw into; None for a new figure, 3.3 inches wide.
            path: where the figure is also saved; the suffix chooses the format.
        """
        return draw_path(
            [*self.path[:1], *self._partial()],
            interval=self.precision_interval,
            threshold=self.threshold,
            part=self.part,
            ax=ax,
            path=path,
        )

    def _precision_words(self) -> str:
        low, high = self.precision_interval
        if low == high:
            return f"precision {self.precision:.3f} (exact)"
        confidence, estimate = f"{100 * (1 - self.delta):g} % confidence", f"the estimate is {self.precision:.3f}"
        if self.success:
            return f"precision at least {at_least(low)} with {confidence} ({estimate})"
        return f"precision between {at_least(low)} and {at_most(high)} with {confidence} ({estimate})"

    def _answer_words(self) -> str:
        """What the model answers for the instance itself, where that is not the explained label; otherwise ""."""
        if self.answer is None or self.answer == self.label:
            return ""
        return f"For the instance itself the model answers {self.in_words(self.answer)}, not {self.label_words}."

    def _own_anchor(self) -> FoundAnchor:
        """The first of `anchors`; a kind of explanation has a kind of its own."""
        return FoundAnchor(**self._own_figures())

    def _own_figures(self) -> dict[str, Any]:
        names = ("features", "names", "precision", "precision_interval", "coverage", "status")
        return {name: getattr(self, name) for name in names}

    def _others_words(self, part: str) -> str:
        """What is said where several anchors were asked for; `part` is what no two of them share."""
        asked = self.params.get("n_anchors", 1) if self.meta else 1
        return several_in_words(self.anchors, asked, part, self.delta)

    def _cost_words(self) -> str:
        rows, calls = plural(self.n_rows, "model row"), plural(self.n_calls, "call")
        return f"It took {rows} in {calls} and {self.seconds:.2f} s."

    def _remedy(self, predicates: str) -> str:
        if self.threshold >= 1 and self.status in (Status.NOT_FOUND, Status.COUNTED):
            return _CERTAINTY
        return _REMEDIES.get(self.status, "").format(predicates=predicates)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain Python values; pictures and tables of rows are left out."""
        miss = self.nearest_miss
        return {
            **FoundAnchor(**self._own_figures()).to_dict(),
            "remark": self.remark,
            "label": self.label,
            "label_name": self.label_name,
            "answer": self.answer,
            "question": self.question,
            "fixed": list(self.fixed),
            "excluded": list(self.excluded),
            "target": self.target,
            "said": plain(self.said),
            "threshold": self.threshold,
            "delta": self.delta,
            "others": [other.to_dict() for other in self.others],
            "n_rows": self.n_rows,
            "n_calls": self.n_calls,
            "seconds": self.seconds,
            "nearest_miss": None if miss is None else {"changed": list(miss.changed), "label": miss.label},
            "path": [
                {"anchor": list(s.anchor), "precision": s.precision, "coverage": s.coverage, "n": s.n}
                for s in self.path
            ],
            "effects": None if self.effects is None else self.effects.tolist(),
            "meta": plain(self.meta),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """The whole explanation as JSON text, from which `from_json` makes it again; also written to `path`, if given.

        The text has the reference's ``meta`` and ``data``, with what else the explanation holds as
        ``data["explanation"]``. Pictures are PNG in base64 and masks lengths of runs; see `torch_anchors.packing`.

        Raises:
            ArgumentError: something in it is of a kind that cannot be saved; the message says what to do.
        """
        document = self._document()
        if path is not None:
            document.write(path)
        return document.to_text()

    def save(self, path: str | Path) -> None:
        """Write the explanation to a file, for `torch_anchors.load`. What holds a model or code is not saved.

        Raises:
            ArgumentError: as `to_json`.
            OSError: the file cannot be written; whatever was there before is as it was.
        """
        self._document().write(path)

    @classmethod
    def from_json(cls: type[Some], text: str) -> Some:
        """The explanation of a text that `to_json` gave.

        Raises:
            ArgumentError: it is no such text, it is damaged, it is of a newer version or of another kind.
        """
        try:
            return cls.of_document(Document.from_text(text))
        except ArgumentError as error:
            raise ArgumentError(f"text cannot be read as an explanation: {error}.") from error

    @classmethod
    def of_document(cls: type[Some], document: Document) -> Some:
        """The explanation of a document that is whole, of this class or one below it.

        Raises:
            ArgumentError: the document is of another kind, or its fields are not what they must be.
        """
        kind = Explanation.kinds.get(document.kind)
        if kind is None or not issubclass(kind, cls):
            known = ", ".join(sorted(name for name, own in Explanation.kinds.items() if issubclass(own, cls)))
            raise ArgumentError(f"it is of the kind {document.kind[:60]!r}; expected {known}")
        fields = Fields(document.data, "data").fields("explanation")
        return kind(**kind.read_fields(fields), meta=document.meta)

    def to_fields(self) -> dict[str, Any]:
        """All but `meta` in values that JSON knows; a kind of explanation adds its own."""
        return {
            **FoundAnchor(**self._own_figures()).to_fields(),
            "label": self.label if isinstance(self.label, str) else int(self.label),
            "label_name": self.label_name,
            "answer": self.answer if self.answer is None or isinstance(self.answer, str) else int(self.answer),
            "question": self.question,
            "fixed": list(map(int, self.fixed)),
            "excluded": list(map(int, self.excluded)),
            "threshold": pack_number(self.threshold),
            "delta": pack_number(self.delta),
            "n_rows": int(self.n_rows),
            "n_calls": int(self.n_calls),
            "seconds": pack_number(self.seconds),
            "path": [packed_step(step) for step in self.path],
            "effects": None if self.effects is None else pack_array(self.effects, name="effects"),
            "target": self.target,
            "said": plain(self.said),
            "answer_names": [[int(label), name] for label, name in self.answer_names.items()],
            "others": [other.to_fields() for other in self.others],
        }

    @classmethod
    def read_fields(cls, fields: Fields) -> dict[str, Any]:
        """The arguments, but for `meta`, that `to_fields` gave; a kind of explanation adds its own.

        Raises:
            ArgumentError: a field is missing, or not what it must be.
        """
        return {
            **FoundAnchor.read_fields(fields),
            "label": fields.label("label"),
            "label_name": fields.text_or_none("label_name"),
            **_read_contrast(fields),
            "threshold": fields.number("threshold"),
            "delta": fields.number("delta"),
            "n_rows": fields.whole("n_rows", 0),
            "n_calls": fields.whole("n_calls", 0),
            "seconds": fields.number("seconds"),
            "path": tuple(map(step_of, fields.each("path"))),
            "effects": _effects_of(fields),
            **_target_of(fields),
            "others": tuple(map(cls.kind_of_anchor.read, fields.each("others") if "others" in fields else ())),
        }

    def _document(self) -> Document:
        data = {**self._reference_data(), "explanation": self.to_fields()}
        return Document(type(self).__name__, plain(self.meta), data)

    def _reference_data(self) -> dict[str, Any]:
        """The entries of the reference's ``data`` as far as they are numbers and words."""
        raw = {**self._raw_numbers(), "prediction": [self.label]}
        return {
            "anchor": list(self.names),
            "precision": plain(self.precision),
            "coverage": plain(self.coverage),
            "raw": plain(raw),
        }

    @property
    def name(self) -> str:
        """The class of the explainer, as the reference's ``name``."""
        return str(self.meta["name"])

    @property
    def params(self) -> Mapping[str, Any]:
        """All settings of the explainer and of the question, as the reference's ``params``."""
        params: Mapping[str, Any] = self.meta["params"]
        return params

    @property
    def data(self) -> dict[str, Any]:
        """The entries of the reference's ``data``; a kind of explanation may have more."""
        return {"anchor": list(self.names), "precision": self.precision, "coverage": self.coverage, "raw": self.raw}

    @property
    def raw(self) -> dict[str, Any]:
        """The entries of the reference's ``raw``; a kind of explanation adds its own.

        ``feature`` has the anchor's predicates in the order in which they were added to it, as far as the search did so
        one by one. ``precision`` (which is also ``mean``) and ``coverage`` have a figure for each partial anchor on the
        way; the last ones are those of the explanation.
        """
        return self._raw_numbers()

    def __getitem__(self, key: str) -> Any:
        """An entry of the reference's ``data`` or ``meta``: ``explanation["anchor"]``."""
        data = self.data
        if key in data:
            return data[key]
        if key in self.meta:
            return self.meta[key]
        raise KeyError(f"{key!r}; there are {', '.join(map(repr, (*data, *self.meta)))}.")

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        Explanation.kinds[cls.__name__] = cls

    def _raw_numbers(self) -> dict[str, Any]:
        """The entries of the reference's ``raw`` that need no rows."""
        steps = self._partial()
        order = [predicate for added in self._entered() for predicate in sorted(added)]
        words = dict(zip(self.features, self.names, strict=False))
        return {
            "feature": order,
            "mean": [step.precision for step in steps],
            "precision": [step.precision for step in steps],
            "coverage": [step.coverage for step in steps],
            "all_precision": self.path[0].precision if self.path else float("nan"),
            "num_preds": self.n_rows,
            "success": self.success,
            "names": [words[predicate] for predicate in order if predicate in words],
            "prediction": np.array([self.label]),
        }

    def _partial(self) -> list[Step]:
        """The partial anchors that follow the empty one; the explanation's own anchor is the last."""
        n = self.path[-1].n if self.path else 0
        return partial_anchors(self.path, Step(self.features, self.precision, self.coverage, n))

    def __repr__(self) -> str:
        low, high = self.precision_interval
        return (
            f"{type(self).__name__}(anchor={list(self.names)}, label={self.label_words!r}, "
            f"precision={self.precision:.3f} [{low:.3f}, {high:.3f}], coverage={self.coverage:.3f}, "
            f"status={self.status.value!r})"
        )


Explanation.kinds[Explanation.__name__] = Explanation


def reference_examples(hits: Any, misses: Any) -> dict[str, Any]:
    """Rows on which an anchor holds, as an entry of the reference's ``raw["examples"]``.

    Rows on which it does not hold are never drawn for it, so that there are none.
    """
    return {"covered_true": hits, "covered_false": misses, "uncovered_true": [], "uncovered_false": []}


def _read_contrast(fields: Fields) -> dict[str, Any]:
    """What was asked, and the answer; files of earlier versions say nothing of it."""
    if "question" not in fields:
        return {}
    return {
        "answer": None if fields.get("answer") is None else fields.label("answer"),
        "question": fields.word("question", QUESTIONS),
        "fixed": fields.wholes("fixed"),
        "excluded": fields.wholes("excluded"),
    }


def _effects_of(fields: Fields) -> Float[np.ndarray, " features"] | None:
    """The effects, which files of the first versions do not have."""
    if "effects" not in fields or fields.get("effects") is None:
        return None
    effects = fields.array("effects", kinds="f", ndim=(1,))
    fields.check(bool(np.isfinite(effects).all()), "effects", "finite numbers")
    return effects


def plain(value: Any) -> Any:
    """Nested containers of values that JSON knows; anything else by its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, type) or not hasattr(value, "shape") else f"array{tuple(value.shape)}"


def _target_of(fields: Fields) -> dict[str, Any]:
    """What was asked, and the answer; files of before 0.2 do not say, and are about the argmax."""
    if "target" not in fields:
        return {}
    names = fields.list("answer_names")
    well_formed = all(isinstance(n, list) and [type(part) for part in n] == [int, str] for n in names)
    fields.check(well_formed, "answer_names", "pairs of a label and its name")
    said = fields.get("said")
    fields.check(isinstance(said, dict), "said", "an object")
    return {"target": fields.text("target"), "said": said, "answer_names": dict(map(tuple, names))}
