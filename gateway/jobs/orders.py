"""The parts of a run's body that are not the model's: ``webhook_url`` and the ``torii`` object. Pure.

They are taken out before the model's own parameters are checked, and never sent upstream.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gateway import errors
from gateway.webhooks import urls
from gateway.webhooks.addresses import Network

#: The caller's own data about a job: small, since it comes back with each answer.
MAX_METADATA_BYTES = 4096
MAX_START_WITHIN_S = 86_400
#: The higher goes first among the jobs of one team.
MAX_PRIORITY = 100
_KNOWN = ("metadata", "priority", "startWithinS")


@dataclass(frozen=True)
class Order:
    """A run's body, taken apart."""

    parameters: Mapping[str, object]
    details: Mapping[str, object] | None
    start_within_s: int | None
    priority: int = 0
    #: Where the job's end is told; none for the team's own address.
    webhook_url: str | None = None


def read(body: Mapping[str, object], webhook_nets: tuple[Network, ...] = ()) -> Order:
    """Take the body apart; an ``InvalidRequest`` names the field.

    Webhooks reach networks that are not public only where they are among ``webhook_nets``.
    """
    parameters = {name: value for name, value in body.items() if name not in ("torii", "webhook_url")}
    webhook_url = None
    if body.get("webhook_url") is not None:
        webhook_url = urls.check(body["webhook_url"], webhook_nets, param="webhook_url")
    if "torii" not in body:
        return Order(parameters, None, None, webhook_url=webhook_url)
    ours = body["torii"]
    if not isinstance(ours, Mapping):
        raise errors.InvalidParameter("torii: must be an object", param="torii")
    for name in ours:
        if name not in _KNOWN:
            raise errors.UnknownParameter(
                f"torii.{name[:80]}: not known; the torii object takes {', '.join(_KNOWN)}",
                param=f"torii.{name[:80]}",
            )
    return Order(parameters, _metadata(ours), _start_within_s(ours), _priority(ours), webhook_url)


def _metadata(ours: Mapping[str, object]) -> Mapping[str, object] | None:
    if "metadata" not in ours:
        return None
    metadata = ours["metadata"]
    if not isinstance(metadata, Mapping):
        raise errors.InvalidParameter("torii.metadata: must be an object", param="torii.metadata")
    encoded = msgspec.json.encode(metadata)
    if len(encoded) > MAX_METADATA_BYTES:
        raise errors.InvalidParameter(
            f"torii.metadata: at most {MAX_METADATA_BYTES} bytes as JSON", param="torii.metadata"
        )
    if b"\\u0000" in encoded:
        # PostgreSQL's json type cannot hold it.
        raise errors.InvalidParameter("torii.metadata: must not contain U+0000", param="torii.metadata")
    return metadata


def _start_within_s(ours: Mapping[str, object]) -> int | None:
    if "startWithinS" not in ours:
        return None
    seconds = ours["startWithinS"]
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= MAX_START_WITHIN_S:
        raise errors.InvalidParameter(
            f"torii.startWithinS: must be a whole number of seconds from 1 to {MAX_START_WITHIN_S}",
            param="torii.startWithinS",
        )
    return seconds


def _priority(ours: Mapping[str, object]) -> int:
    priority = ours.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int) or not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise errors.InvalidParameter(
            f"torii.priority: must be a whole number from {-MAX_PRIORITY} to {MAX_PRIORITY}", param="torii.priority"
        )
    return priority
