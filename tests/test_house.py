"""Who may import whom. The parts of the package form a house: arrows point down only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import torch_anchors

PACKAGE = Path(torch_anchors.__file__).parent
NAME = PACKAGE.name

LEAVES = {"errors", "_shapes", "_extras", "pixels"}
"""Imported by all; they import only each other."""

BELOW: dict[str, set[str]] = {
    "search": set(),
    "perturb": {"search.protocol"},
    "engine": {"perturb", "search.protocol"},
    "models": set(),
    "explanation": {"search.protocol"},
    "plots": {"explanation", "search.protocol"},
    "__main__": {"cli"},
}
"""What a part may import besides itself and the leaves."""

TOP = {"image", "tabular"}
"""What a user calls: imported by nobody but those that stand for a user."""
USERS = {"cli", "distributed"}

LATE = {("explanation", "plots"), ("tabular_explanation", "plots")}
"""Imported inside a function, when it is called: explanations draw themselves, and plots know explanations."""


def modules() -> dict[str, ast.Module]:
    """Each module by its dotted name below the package ("" is the package itself), parsed."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


MODULES = modules()


def imports(tree: ast.AST, *, late: bool = True) -> Iterator[str]:
    """Dotted names of all that is imported, as ``package.module`` or ``package.module.name``.

    Without `late`, only what is imported when the module itself is.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif late or (not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_for_types(node)):
            yield from imports(node, late=late)


def is_for_types(node: ast.AST) -> bool:
    """Whether it is ``if TYPE_CHECKING``, which never runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def own_imports(module: str, *, late: bool = True) -> set[str]:
    """Modules of the package that a module of it imports, by their names below it."""
    found = set()
    for name in imports(MODULES[module], late=late):
        package, _, rest = name.partition(".")
        if package == NAME:
            while rest and rest not in MODULES:  # the last part may be a class or a function
                rest = rest.rpartition(".")[0]
            found.add(rest)
    return found


def is_part_of(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def part_of(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", [name for name in MODULES if part_of(name) in LEAVES | set(BELOW)])
def test_arrows_point_down(module: str) -> None:
    part = part_of(module)
    allowed = {part, *LEAVES, *BELOW.get(part, set())} if part not in LEAVES else LEAVES
    for imported in own_imports(module):
        if (part, part_of(imported)) not in LATE:
            assert any(is_part_of(imported, name) for name in allowed), f"{module} must not import {imported}"


@pytest.mark.parametrize("module", [name for name in MODULES if name and part_of(name) not in USERS | set(BELOW)])
def test_what_lies_between_knows_no_user(module: str) -> None:
    """The facades and their helpers do without the command line, the pictures and the pretrained models."""
    forbidden = USERS | {"__main__", "plots", "models"} | (TOP - {part_of(module)})
    for imported in own_imports(module):
        if (module, part_of(imported)) not in LATE:
            assert part_of(imported) not in forbidden, f"{module} must not import {imported}"


def test_only_users_import_what_users_call() -> None:
    importers = {top: {part_of(name) for name in MODULES if top in own_imports(name)} for top in TOP}
    assert all(parts <= USERS | {""} for parts in importers.values()), importers
    assert "cli" in importers["image"]


@pytest.mark.parametrize(("importer", "imported"), sorted(LATE))
def test_late_imports_are_late(importer: str, imported: str) -> None:
    assert not any(is_part_of(name, imported) for name in own_imports(importer, late=False))
    assert any(is_part_of(name, imported) for name in own_imports(importer))


def test_there_is_no_circle() -> None:
    waiting = {name: own_imports(name, late=False) - {name} for name in MODULES}
    while waiting:
        free = {name for name, imported in waiting.items() if not imported & set(waiting)}
        assert free, f"a circle among {sorted(waiting)}"
        waiting = {name: imported for name, imported in waiting.items() if name not in free}


def test_the_search_knows_no_tensors() -> None:
    """Neither itself nor through anything that it imports."""
    waiting, seen = [name for name in MODULES if is_part_of(name, "search")], set()
    assert waiting
    while waiting:
        module = waiting.pop()
        seen.add(module)
        foreign = {name.partition(".")[0] for name in imports(MODULES[module])}
        assert not foreign & {"torch", "torchvision", "kornia"}, f"search comes to import torch through {module}"
        waiting += own_imports(module) - seen


def test_nobody_imports_the_package_as_a_whole() -> None:
    """Taking a name from the package, rather than from its module, would import all of it."""
    for module in MODULES:
        assert "" not in own_imports(module), f"{module} takes a name from {NAME}"
