"""What a caller's request for its own things names: the query of a list, an id of the path, and whose things they are.

Reads; finds nothing. What an operator may ask is held to a deed's own words (``admin_deeds``).
"""

import re
from collections.abc import Collection
from typing import Any, Final

from litestar import Request

from gateway import errors
from gateway.tenancy.keys import Key
from gateway.tenancy.scopes import Scope
from service.admin_deeds import Ask

#: The parameters of every list.
PAGE: Final = frozenset({"limit", "cursor"})


def asked(request: Request[Any, Any, Any], names: Collection[str] = PAGE) -> Ask:
    """The query, each of those parameters once at most; ``UnknownParameter`` or ``InvalidParameter`` names another."""
    found: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name not in names:
            raise errors.UnknownParameter(f"there is no query parameter {name[:40]!r} here", param=name[:40])
        if name in found:
            raise errors.InvalidParameter(f"{name} may be given once", param=name)
        found[name] = text
    return Ask({}, found, {})


def named(request: Request[Any, Any, Any], name: str, form: re.Pattern[str], missing: type[errors.NotFound]) -> str:
    """The id in the path; ``missing`` for a text that can be nobody's."""
    text: str = request.path_params[name]
    if not form.fullmatch(text):
        raise missing(param=name)
    return text


def owner(key: Key, whole_team: Scope) -> str | None:
    """The key whose things alone it is about; none for those of the whole team."""
    return None if whole_team in key.scopes else key.id
