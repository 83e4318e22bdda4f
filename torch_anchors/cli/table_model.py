"""The model of a table, given or trained on the spot, and what explains its answers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch_anchors.cli.rows import Split
from torch_anchors.errors import ArgumentError
from torch_anchors.words import listed

if TYPE_CHECKING:
    import torch

    from torch_anchors.tables.anchor_tabular import AnchorTabular
    from torch_anchors.tables.schema import TableSchema
    from torch_anchors.targets.values import Within

SPREADS = 0.5
"""Numbers that are so many standard deviations of the column apart are the same answer, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class TableModel:
    """A model that tells one column of a table from the others.

    Args:
        options: of the command.
        split: the table.
        schema: its columns.
        module: the network; of a column of numbers it returns one for each row.
    """

    options: argparse.Namespace
    split: Split
    schema: TableSchema
    module: torch.nn.Module

    @classmethod
    def of(cls, options: argparse.Namespace, split: Split) -> TableModel:
        """The model of --model, or a small network that is trained on the table.

        Raises:
            ArgumentError: the file holds none that fits the table.
        """
        import torch

        from torch_anchors.cli.given_net import given_net
        from torch_anchors.models.table_net import train_table_net, train_value_net
        from torch_anchors.tables.schema import TableSchema

        schema = TableSchema.infer(split.table)
        encoded = torch.from_numpy(schema.encode(split.table)).float()
        if options.model:
            module = given_net(options.model, encoded, schema.names, split.classes, trust=options.trust)
            return cls(options, split, schema, module)
        rows, targets = encoded[split.train], split.target[split.train]
        how = {"seed": options.seed % 2**63, "epochs": options.epochs}
        if split.is_of_numbers:
            return cls(options, split, schema, train_value_net(schema.n_categories, rows, targets, **how))
        n_classes = len(split.classes)
        return cls(
            options, split, schema, train_table_net(schema.n_categories, rows, targets, n_classes=n_classes, **how)
        )

    @property
    def target(self) -> Within | None:
        """What counts as the same answer: a number within a tolerance of the row's; None for the same class."""
        from torch_anchors.targets.values import Within

        if not self.split.is_of_numbers:
            return None
        tolerance = self.options.within
        if tolerance is None:
            tolerance = float(f"{SPREADS * float(self.split.target[self.split.train].std(correction=0)):.2g}")
        if not tolerance > 0:
            raise ArgumentError(
                f"--target must have more than one number, and {self.options.target} has the same in all"
            )
        return Within(tolerance)

    def explainer(self, sampling: str) -> AnchorTabular:
        """What explains the model by rows of that kind, fitted on the rows that a model is trained on."""
        from torch_anchors.tables.anchor_tabular import AnchorTabular

        columns = enumerate(self.schema.columns)
        explainer = AnchorTabular(
            self.module,
            list(self.schema.names),
            {i: column.categories for i, column in columns if column.categories is not None},
            seed=self.options.seed,
            sampling=sampling,
            class_names=self.split.classes or None,
        )
        return explainer.fit(self.split.table.iloc[self.split.train.numpy()])

    def in_words(self, explainer: AnchorTabular) -> str:
        """What the model is, which rows there are, and how often it is right on rows held back."""
        options, split = self.options, self.split
        what = (
            f"The model {options.model}" if options.model else f"A small network, trained on {len(split.train):,} rows,"
        )
        missing = len(split.file) - len(split.table)
        rows = (
            f" {missing:,} of {len(split.file):,} rows have no {options.target}; they are left out." if missing else ""
        )
        kind = "a number" if split.is_of_numbers else listed(split.classes, "or")
        task = f"{options.target} ({kind})"
        if not len(split.held_back):
            return f"{what} tells {task}; the table is too short for rows to be held back.{rows}"
        how_well = self._errors_in_words() if split.is_of_numbers else _right_in_words(explainer, split)
        return f"{what} tells {task} {how_well}.{rows}"

    def _errors_in_words(self) -> str:
        """How far off the numbers are on rows held back, and how far off the mean would be."""
        import torch

        split, target = self.split, self.target
        encoded = torch.from_numpy(self.schema.encode(split.table.iloc[split.held_back.numpy()])).float()
        with torch.no_grad():
            said = self.module(encoded).reshape(-1)
        true = split.target[split.held_back]
        off = float((said - true).abs().mean())
        plain = float((true - split.target[split.train].mean()).abs().mean())
        assert target is not None
        return (
            f"with an error of {off:.3g} on average on {len(true):,} rows held back, on which the mean of all would "
            f"have {plain:.3g}. The same answer is a number within {target.tolerance:g} of the model's (--within)"
        )


def _right_in_words(explainer: AnchorTabular, split: Split) -> str:
    """How often the labels that are explained are the right ones on rows held back.

    These are the explainer's own, so that a model of one score is read as it is when it is explained.
    """
    labels = explainer.predict(split.table.iloc[split.held_back.numpy()])
    if (labels >= len(split.classes)).any():
        raise ArgumentError(
            f"the model returns the label {labels.max()}, and the table has the labels 0 to {len(split.classes) - 1}: "
            f"{listed(split.classes)}"
        )
    right = float((labels == split.target[split.held_back].numpy()).mean())
    return f"right in {100 * right:.1f} % of {len(labels):,} rows held back"
