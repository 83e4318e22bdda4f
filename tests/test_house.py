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
    "settings": {"search.protocol"},
    "plots": {"explanation", "search.protocol"},
    "batching": {"engine"},
    "image": {"batching", "engine", "explanation", "perturb", "search", "settings"},
    "columns": set(),
    "table": {"columns", "perturb"},
    "rule": {"columns", "perturb", "table"},
    "tabular": {
        "batching",
        "columns",
        "engine",
        "explanation",
        "perturb",
        "rule",
        "search",
        "settings",
        "table",
    },
    "distributed": {"image", "tabular", "batching", "explanation", "settings"},
    "cli": {"columns", "explanation", "image", "models", "plots", "search.protocol", "table", "tabular"},
    "__main__": {"cli"},
}
"""What each part may import, besides itself and the leaves."""

LATE = {("explanation", "plots")}
"""Imported inside a function, when it is called: an explanation draws itself, and plots know explanations."""


def modules() -> dict[str, ast.Module]:
    """Each module by its dotted name below the package, parsed."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


MODULES = modules()


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all that is imported anywhere in the tree, as ``package.module`` or ``package.module.name``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(tree: ast.AST) -> set[str]:
    """Modules of the package that are imported, by their names below it."""
    found = set()
    for name in imports(tree):
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


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_arrows_point_down(module: str) -> None:
    part = part_of(module)
    assert part in BELOW or part in LEAVES, f"{part} is new: say in this test what it may import"
    allowed = {part, *LEAVES, *BELOW.get(part, set())}
    for imported in own_imports(MODULES[module]):
        if (part, part_of(imported)) in LATE:
            continue
        assert any(is_part_of(imported, name) for name in allowed), f"{module} must not import {imported}"


@pytest.mark.parametrize(("importer", "imported"), sorted(LATE))
def test_late_imports_are_late(importer: str, imported: str) -> None:
    at_once = ast.Module([node for node in MODULES[importer].body if not isinstance(node, ast.ClassDef)], [])
    assert not any(is_part_of(name, imported) for name in own_imports(at_once))
    assert any(is_part_of(name, imported) for name in own_imports(MODULES[importer]))


def test_there_is_no_circle() -> None:
    parts = {part: {part_of(name) for name in names} for part, names in BELOW.items()}
    while parts:
        free = {part for part, below in parts.items() if not below & set(parts)}
        assert free, f"a circle among {sorted(parts)}"
        parts = {part: below for part, below in parts.items() if part not in free}


def test_the_search_knows_no_tensors() -> None:
    """Neither itself nor through anything that it imports."""
    waiting, seen = [name for name in MODULES if is_part_of(name, "search")], set()
    assert waiting
    while waiting:
        module = waiting.pop()
        seen.add(module)
        foreign = {name.partition(".")[0] for name in imports(MODULES[module])}
        assert not foreign & {"torch", "torchvision", "kornia"}, f"search comes to import torch through {module}"
        waiting += own_imports(MODULES[module]) - seen


def test_nobody_starts_the_package() -> None:
    """Importing names from the package itself would run all of it, whatever they need."""
    for module, tree in MODULES.items():
        assert "" not in own_imports(tree), f"{module} imports from {NAME} rather than from one of its modules"
