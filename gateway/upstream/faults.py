"""Which transport errors mean "surely not sent". Pure; the table is the rule, and a test holds it complete.

A request was surely not sent only when no connection carried it: name not resolved, connection refused, TLS not
agreed (all ``ConnectError``), no connection in time, or no free place in the pool. Everything after that is ambiguous.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import httpx

from gateway.upstream import answers
from gateway.upstream.answers import Refusal


class TooLate(Exception):
    """The request was to be sent by a certain moment, and that had passed before its first byte."""


#: Every transport error of httpx: whether the request surely did not leave, and the word that metrics and rows use.
TRANSPORT: Final[Mapping[type[BaseException], tuple[bool, str]]] = MappingProxyType(
    {
        httpx.ConnectError: (True, "connect"),
        httpx.ConnectTimeout: (True, "connect"),
        httpx.PoolTimeout: (True, "connect"),
        httpx.UnsupportedProtocol: (True, "connect"),
        httpx.LocalProtocolError: (False, "cut"),
        httpx.ProxyError: (False, "cut"),
        httpx.ReadTimeout: (False, "timeout"),
        httpx.WriteTimeout: (False, "timeout"),
        httpx.ReadError: (False, "cut"),
        httpx.WriteError: (False, "cut"),
        httpx.CloseError: (False, "cut"),
        httpx.RemoteProtocolError: (False, "cut"),
    }
)


def word(error: BaseException) -> str:
    """``connect``, ``timeout``, ``cut`` or ``other``: the closed set of what metrics and rows say of a fault."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, TooLate):
        return "connect"
    return TRANSPORT.get(type(error), (False, "other"))[1]


def submission(error: Exception) -> answers.Submission:
    """What a fault during a paid POST means."""
    if isinstance(error, TooLate):
        return answers.Refused(Refusal.NOT_SENT)
    unsent, said = TRANSPORT.get(type(error), (False, word(error)))
    return answers.Refused(Refusal.NOT_CONNECTED) if unsent else answers.Ambiguous(said)
