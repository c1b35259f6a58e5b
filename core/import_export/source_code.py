"""The source of single functions, with all that they need from their own module, found without importing anything."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parents[2]


class _Module(NamedTuple):
    imports: dict[str, tuple[str, str]]  # the name that an import binds -> where from ("" for a whole module), and what
    sources: dict[str, str]  # a function, class or constant -> its source
    uses: dict[str, frozenset[str]]  # the same -> every name in it
    order: tuple[str, ...]


def source_with_imports(module: str, names: list[str], shown: set[str]) -> str:
    """The source of some names of a module of ours, begun by the imports they need; "" if all were shown before.

    What they use of their own module comes along, before them.

    Args:
        shown: names that stand above already, as `module.name`; those returned here are added.

    Raises:
        KeyError: the module has no such name.
    """
    parts = _read(module)
    wanted: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in wanted and f"{module}.{name}" not in shown:
            wanted.add(name)
            queue += [used for used in parts.uses[name] if used in parts.sources]
    shown.update(f"{module}.{name}" for name in wanted)
    used = {name for wanted_one in wanted for name in parts.uses[wanted_one]}
    imports = _written({parts.imports[name] for name in used if name in parts.imports})
    sources = [parts.sources[name] for name in parts.order if name in wanted]
    return "\n\n\n".join([part for part in [imports, *sources] if part])


@cache
def _read(module: str) -> _Module:
    text = (_ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")
    imports, sources, uses = {}, {}, {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            imports |= {alias.asname or alias.name.split(".")[0]: ("", ast.unparse(alias)) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports |= {alias.asname or alias.name: (node.module, ast.unparse(alias)) for alias in node.names}
        elif name := _defined(node):
            begin = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
            sources[name] = "\n".join(text.splitlines()[begin - 1 : node.end_lineno])
            uses[name] = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
    return _Module(imports, sources, uses, tuple(sources))


def _defined(node: ast.stmt) -> str:
    """The name that a statement gives to something, or ""."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _written(imports: set[tuple[str, str]]) -> str:
    """Import statements: whole modules, then single names, ours last."""
    lines = [f"import {name}" for origin, name in sorted(imports) if not origin]
    origins = sorted(
        {origin for origin, _ in imports if origin}, key=lambda origin: (origin.startswith("core."), origin)
    )
    lines += [f"from {origin} import {', '.join(sorted(n for o, n in imports if o == origin))}" for origin in origins]
    return "\n".join(lines)
