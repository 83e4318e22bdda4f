"""What notebooks show of a table's explanation."""

from __future__ import annotations

from torch_anchors.search.protocol import Step
from torch_anchors.tables.steps_html import steps_html


def test_each_step_has_a_line_and_no_name_is_taken_for_markup() -> None:
    steps = [("age <= 3", Step((1,), 0.98765, 0.25, 7)), ("no condition", Step((), 1.0, 1.0, 0))]
    html = steps_html("a <b> & c", "on <rows>", steps)
    assert html.startswith("<p>a &lt;b&gt; &amp; c</p><table>")
    assert "on &lt;rows&gt;</th>" in html
    assert "age &lt;= 3</td><td>0.988</td><td>0.250</td>" in html
    assert html.count("<tr>") == 3
