"""What one try at a delivery can come to: the words, and nothing that is done."""

from enum import StrEnum
from typing import Final

#: Counted beside the last try's own outcome when a message is given up.
DEAD: Final = "dead"


class Outcome(StrEnum):
    """What one try came to: a closed set, since it labels a metric."""

    DELIVERED = "delivered"
    #: The receiver answered 410: it wants no more of this.
    GONE = "gone"
    REDIRECT = "redirect"
    #: Any other answer that is not a 2xx.
    REFUSED = "refused"
    TIMEOUT = "timeout"
    CONNECT = "connect"
    CUT = "cut"
    UNRESOLVED = "unresolved"
    #: The URL leads to an address that may not be called, so no connection was made.
    FORBIDDEN = "refused_address"
    BAD_URL = "bad_url"
    #: The team has taken its address away.
    NO_URL = "no_url"
    #: No secret of the team can be opened with ``TORII_SECRET_KEY``.
    NO_SECRET = "no_secret"  # noqa: S105  a word, not a secret
    SUPERSEDED = "superseded"
    #: A part of ours failed.
    INTERNAL = "internal"
