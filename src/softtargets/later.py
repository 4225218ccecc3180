"""Names of a package that are imported when they are first asked for."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def attributes(package: str, modules: dict[str, str]) -> Callable[[str], Any]:
    """Return a package's `__getattr__`.

    Args:
        package: its `__name__`.
        modules: by name, the module that defines it; the module itself where both names agree.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(modules[name])
        return module if modules[name] == f"{package}.{name}" else getattr(module, name)

    return get
