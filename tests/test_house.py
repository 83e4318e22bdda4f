"""Who may import whom. The parts of the package form a house: arrows point down only.

    integrations -> datasets
    cli, plots -> models, reference, datasets -> images, tables -> explainer -> engine -> perturb -> search
                                                                                       -> targets

No wing imports another, and late imports (inside functions) count like any other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import torch_anchors

PACKAGE = Path(torch_anchors.__file__).parent
NAME = PACKAGE.name

LEAVES = {"errors", "_checks", "_devices", "_shapes", "_extras", "_locks", "words"}
"""Imported by all; they import only each other."""

BELOW: dict[str, set[str]] = {
    "search": set(),
    "perturb": {"search.protocol"},
    "targets": set(),
    "engine": {"perturb", "search.protocol", "targets"},
    "seeds": set(),
    "delivery": set(),
    "settings": {"search", "delivery", "targets"},
    "interrupts": set(),
    "whole_files": {"interrupts"},
    "packing": set(),
    "store": {"packing", "whole_files"},
    "attribution": set(),
    "found_anchor": {"search.protocol", "packing"},
    "partial_anchors": {"search.protocol", "packing"},
    "explanations": {"explanation", "plot_style"},
    "explanation": {
        "search.protocol",
        "packing",
        "store",
        "attribution",
        "found_anchor",
        "partial_anchors",
        "path_picture",
    },
    "plot_style": set(),
    "path_picture": {"plot_style", "search.protocol"},
    "explainer": {
        "delivery",
        "engine",
        "perturb.protocol",
        "search",
        "seeds",
        "settings",
        "explanation",
        "explanations",
        "targets",
    },
    "images": {
        "explainer",
        "engine",
        "perturb",
        "search.protocol",
        "seeds",
        "settings",
        "explanation",
        "explanations",
        "found_anchor",
        "packing",
        "plot_style",
    },
    "tables": {
        "targets",
        "explainer",
        "engine",
        "perturb",
        "search.protocol",
        "seeds",
        "settings",
        "explanation",
        "explanations",
        "found_anchor",
        "partial_anchors",
        "packing",
        "plot_style",
    },
    "reference": {"images", "tables", "engine.predictor", "perturb", "search.protocol"},
    "loading": {"images", "tables", "explanation", "store"},
    "models": {"images.pixels"},
    "datasets": {
        "images",
        "tables",
        "explainer",
        "explanation",
        "explanations",
        "found_anchor",
        "settings",
        "delivery",
        "engine.digest",
        "targets.target",
        "packing",
        "whole_files",
        "interrupts",
        "search.protocol",
    },
    "integrations": {"datasets", "images", "tables", "explainer", "explanation", "search.choose"},
    "plots": {"images", "tables", "plot_style"},
    "cli": {
        "datasets",
        "images",
        "tables",
        "models",
        "plots",
        "explanation",
        "targets",
        "search.protocol",
        "interrupts",
        "whole_files",
    },
    "__main__": {"cli"},
}
"""What a part may import besides itself and the leaves."""

ATTRIBUTES = {("tables.anchor_tabular", "reference.tabular_sampler")}
"""The one arrow that runs up: the reference's explainer has its step-by-step sampler as the attribute `samplers`."""


def modules() -> dict[str, ast.Module]:
    """Each module by its dotted name below the package ("" is the package itself), parsed."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


MODULES = modules()


def imports(tree: ast.AST, *, for_types: bool = True) -> Iterator[str]:
    """Dotted names of all that is imported, early or late, as ``package.module`` or ``package.module.name``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif for_types or not is_for_types(node):
            yield from imports(node, for_types=for_types)


def is_for_types(node: ast.AST) -> bool:
    """Whether it is ``if TYPE_CHECKING``, which never runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def own_imports(module: str, *, for_types: bool = True) -> set[str]:
    """Modules of the package that a module of it imports, by their names below it."""
    found = set()
    for name in imports(MODULES[module], for_types=for_types):
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
    allowed = LEAVES if part in LEAVES else {part, *LEAVES, *BELOW[part]}
    for imported in own_imports(module):
        if (module, imported) not in ATTRIBUTES:
            assert any(is_part_of(imported, name) for name in allowed), f"{module} must not import {imported}"


def test_every_part_has_its_place() -> None:
    assert {part_of(name) for name in MODULES if name} == LEAVES | set(BELOW)


def test_the_exceptions_are_there() -> None:
    for module, imported in ATTRIBUTES:
        assert imported in own_imports(module)


def test_there_is_no_circle() -> None:
    """Late imports counted; what only a type checker reads is not, as it is never run."""
    waiting = {name: own_imports(name, for_types=False) - {name} for name in MODULES}
    while waiting:
        free = {name for name, imported in waiting.items() if not imported & set(waiting)}
        assert free, f"a circle among {sorted(waiting)}"
        waiting = {name: imported for name, imported in waiting.items() if name not in free}


@pytest.mark.parametrize("part", ["search", "perturb", "engine", "explainer"])
def test_the_spine_does_not_know_a_wing_by_name_either(part: str) -> None:
    """No string such as "torch_anchors.images" by which something could be imported behind the arrows' back."""
    for name, tree in MODULES.items():
        if part_of(name) == part:
            words = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            assert not [w for w in words if re.search(rf"{NAME}\.(images|tables|reference|cli)", w)], name
            assert not {"importlib.import_module", "importlib"} & set(imports(tree)), name


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
        taken = own_imports(module)
        style = {"torch_anchors.plot_style"} & set(imports(MODULES[module]))
        assert "" not in taken or style, f"{module} takes a name from {NAME}"


def test_every_public_name_is_listed_once_and_can_be_had() -> None:
    stub = (PACKAGE / "__init__.pyi").read_text()
    listed = re.findall(r" as (\w+)$", stub, flags=re.MULTILINE)
    assert sorted(listed) == sorted(set(listed)) == sorted(torch_anchors.__all__)
    for name in listed:
        assert getattr(torch_anchors, name) is not None
    with pytest.raises(AttributeError):
        torch_anchors.no_such_name  # noqa: B018


def test_every_module_has_its_test_file() -> None:
    tests = Path(__file__).parent
    without = {"", "__main__", "_shapes", "_extras", "errors"}
    folders = {name for name in MODULES if any(other.startswith(name + ".") for other in MODULES)}
    covered_by_a_folder = ("cli.", "models.")
    for name in set(MODULES) - without - folders:
        if name.startswith(covered_by_a_folder):
            continue
        *above, leaf = name.split(".")
        path = tests.joinpath(*above, f"test_{leaf.lstrip('_')}.py")
        assert path.exists(), f"{name} has no test file {path.relative_to(tests)}"
