"""The late imports of the house: what a command needs only sometimes is loaded when it is asked for. Its one place.

So ``torii --help`` costs no database driver, and a command on the stores no HTTP client.
"""

import importlib
from types import ModuleType


def module(name: str) -> ModuleType:
    """The module of that name, which is one of the house's own and a constant where this is called."""
    return importlib.import_module(name)
