"""What notebooks show of a table's explanation: what was found, and a line for each step on the way to it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from torch_anchors.search.protocol import Step


def steps_html(found: str, heading: str, steps: Iterable[tuple[str, Step]]) -> str:
    """A paragraph and a table, as HTML; nothing in the words is taken for markup.

    Args:
        found: what was found, in sentences.
        heading: of the first column.
        steps: what each step is in words, and what is known of it.
    """
    left = "style='text-align:left'"
    lines = "".join(
        f"<tr><td {left}>{escape(words)}</td><td>{step.precision:.3f}</td><td>{step.coverage:.3f}</td></tr>"
        for words, step in steps
    )
    head = f"<tr><th {left}>{escape(heading)}</th><th>precision</th><th>coverage</th></tr>"
    return f"<p>{escape(found)}</p><table><thead>{head}</thead><tbody>{lines}</tbody></table>"
