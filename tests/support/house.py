"""The house's rules for source text, as pure functions from a module's text to what breaks them.

Each returns its findings as `line N: what is wrong`, and reads no file: `tests/architecture` feeds it the tree, and
small bad examples that show that each rule can be broken.
"""

import ast
import re
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef

MODULE_LINES = 400
FUNCTION_LINES = 60
DRAWERS = frozenset({"util", "utils", "helper", "helpers", "common", "base", "manager", "managers"})
GROWING = frozenset({"list", "dict", "set", "bytearray", "defaultdict", "deque", "OrderedDict", "Counter"})
#: Names that a tool reads from a module and takes as a list alone.
FOR_TOOLS = frozenset({"__all__", "pytestmark"})
PATCHES = frozenset({"MagicMock", "AsyncMock", "NonCallableMock", "Mock", "mocker"})
GROWING_NODES = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def too_long(source: str) -> list[str]:
    """Find a module or a function past its ceiling; decorators do not count."""
    lines = len(source.splitlines())
    found = [f"line {MODULE_LINES}: {lines} lines, the ceiling is {MODULE_LINES}"] if lines > MODULE_LINES else []
    for function in _functions(ast.parse(source)):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES:
            found.append(f"line {function.lineno}: {function.name} has {length} lines, the ceiling is {FUNCTION_LINES}")
    return found


def inner_imports(source: str) -> list[str]:
    """Find imports hidden inside functions."""
    found = {
        f"line {node.lineno}: import inside {function.name}"
        for function in _functions(ast.parse(source))
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    return sorted(found)


def drawers(path: str, source: str) -> list[str]:
    """Find modules, packages and classes named for a drawer and not for what they are."""
    parts = path.removesuffix(".py").split("/")
    found = [f"line 1: {part} names a drawer" for part in parts if part.lower().rsplit("_", 1)[-1] in DRAWERS]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            words = re.findall(r"[A-Z][a-z0-9]*", node.name)
            if words and words[-1].lower() in DRAWERS:
                found.append(f"line {node.lineno}: class {node.name} names a drawer")
    return found


def mutable_globals(source: str) -> list[str]:
    """Find module-level names bound to something that can grow; a mapping proxy, a frozenset or a tuple cannot."""
    found = []
    for node in _module_level(ast.parse(source)):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if _grows(value) and not FOR_TOOLS.issuperset(names):
            found.append(f"line {node.lineno}: {', '.join(names) or 'this'} is module-level mutable state")
    return found


def rebound_globals(source: str) -> list[str]:
    """Find functions that rebind a name of their module."""
    return [
        f"line {node.lineno}: global {', '.join(node.names)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Global)
    ]


def undescribed(path: str, source: str) -> list[str]:
    """Find a module without a docstring, and an `__init__.py` that holds more than one."""
    tree = ast.parse(source)
    if ast.get_docstring(tree) is None:
        return ["line 1: no docstring says what this module is for"]
    if path.endswith("__init__.py") and len(tree.body) > 1:
        return [f"line {tree.body[1].lineno}: an __init__.py holds a docstring only"]
    return []


def tests_without_rule(source: str) -> list[str]:
    """Find tests whose docstring is not one line that states their rule."""
    found = []
    for function in _functions(ast.parse(source)):
        if function.name.startswith("test_"):
            text = ast.get_docstring(function)
            if not text or "\n" in text or not text.endswith("."):
                found.append(f"line {function.lineno}: {function.name} does not state its rule in one sentence")
    return found


def patches(source: str) -> list[str]:
    """Find tests that replace a part of ours by a stand-in, where they should pass another part in."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = _dotted(node)
        if name.rsplit(".", 1)[-1] in PATCHES or "mock.patch" in name or name == "monkeypatch.setattr":
            found.append(f"line {getattr(node, 'lineno', 1)}: {name} patches; pass the part in instead")
        elif isinstance(node, ast.ImportFrom) and node.module in {"unittest.mock", "mock"}:
            found.append(f"line {node.lineno}: {node.module} patches; pass the part in instead")
    return found


def imports_of(source: str, package: str) -> list[str]:
    """Find imports of a package or of anything in it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        if any(name == package or name.startswith(f"{package}.") for name in names):
            found.append(f"line {node.lineno}: imports {package}")
    return found


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Every statement that runs at import outside a class, also inside a module-level if, try or with."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, ast.ClassDef | Function | ast.expr):
            waiting += ast.iter_child_nodes(node)


def _grows(value: ast.expr) -> bool:
    if isinstance(value, GROWING_NODES):
        return True
    return isinstance(value, ast.Call) and _dotted(value.func).rsplit(".", 1)[-1] in GROWING


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):
        return _dotted(node.value)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
