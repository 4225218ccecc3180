"""Who imports whom, how long files are, what is documented, what an import loads."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import softtargets
from softtargets import calibration, noise, representation, testing
from softtargets.report import plots

ROOT = Path(softtargets.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[2]

# Lowest first; rooms of one row do not import each other.
ROOMS = [
    {"later", "decoding"},
    {"checks"},
    {"batching"},
    {"arithmetic"},
    {"terms"},
    {"combination"},
    {"target"},
    {"mixing", "transition"},
    {"mollification"},
    {"engine"},
    {"smoothing"},
    {"losses"},
    {"noise", "calibration", "distillation", "representation"},
    {"testing", "integrations"},
    {"lab", "audit"},
    {"claims"},
    {"report", "bench"},
    {"cli"},
]
LEVELS = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))


def room_of(path):
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path):
    """The rooms a file imports from, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "softtargets":
                yield from (alias.name for alias in node.names)
            elif node.module and node.module.startswith("softtargets."):
                yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("softtargets."):
                    yield alias.name.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_come_from_lower_rooms(path):
    room = room_of(path)
    if room in ("__init__", "__main__", "py"):
        return
    assert room in LEVELS, f"the room {room} has no place in ROOMS"
    for other in imported_rooms(path):
        if other == room or other == "__version__":
            continue
        assert other in LEVELS, f"{path} imports softtargets.{other}, which is no room"
        assert LEVELS[other] < LEVELS[room], f"{path} imports upward from {other}"


def test_the_order_is_violated_by_an_upward_import(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("from softtargets.losses import cross_entropy\nfrom softtargets import lab\n")
    assert list(imported_rooms(path)) == ["losses", "lab"]


@pytest.mark.parametrize(
    "path",
    [*FILES, *sorted((REPOSITORY / "tests").rglob("*.py"))],
    ids=lambda p: str(p.relative_to(REPOSITORY)) if p.is_relative_to(REPOSITORY) else p.name,
)
def test_files_stay_below_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


def public_objects():
    for module in (softtargets, calibration, noise, representation, testing, plots):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield pytest.param(thing, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("thing", list(public_objects()))
def test_public_names_are_documented(thing):
    text = inspect.getdoc(thing) or ""
    sections = ("Example:", "Args:", "Returns:", "Attributes:")
    abstract = inspect.isabstract(thing)
    assert abstract or any(section in text for section in sections), f"{thing} needs a docstring"
    if inspect.isclass(thing):
        methods = inspect.getmembers(thing, inspect.isfunction)
        for name, method in methods:
            if not name.startswith("_") and method.__module__.startswith("softtargets"):
                assert inspect.getdoc(method), f"{thing.__name__}.{name} has no docstring"


def modules_after(code):
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_the_import_loads_torch_and_nothing_heavy():
    loaded = modules_after("import softtargets")
    extra = loaded - modules_after("import torch")
    heavy = {"numpy", "scipy", "sklearn", "matplotlib", "rich", "cyclopts", "msgspec", "jinja2"}
    heavy |= {"torch._dynamo", "torch._inductor", "torch.distributed.tensor", "triton", "pandas"}
    assert not extra & heavy
    outside = {name.split(".")[0] for name in extra} - {"softtargets", "torch"}
    assert outside <= set(sys.stdlib_module_names)
    assert not loaded & {"softtargets.testing", "softtargets.representation"}
    assert not {name for name in loaded if name.startswith(("softtargets.lab", "softtargets.cli"))}


def test_the_battery_needs_torch_alone():
    extra = modules_after("import softtargets.testing") - modules_after("import torch")
    outside = {name.split(".")[0] for name in extra} - {"softtargets", "torch"}
    assert outside <= set(sys.stdlib_module_names)


def test_the_package_is_typed():
    assert (ROOT / "py.typed").is_file()
