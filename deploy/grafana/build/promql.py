"""The turns of PromQL that several panels need, as functions of text. Asks nobody."""

from typing import Final

#: The results of a look into the cache that cost nothing.
REUSED: Final = 'result=~"hit|collapsed"'
#: Narrows the books' series to what a dashboard's variables say.
CHOSEN: Final = '{team=~"$team",model=~"$model"}'


def spent(by: str, over: str, chosen: str = "") -> str:
    """Credits paid less those that came back in the last ``over``, by labels; equal to the ledger's sum.

    The value then is subtracted instead of asking ``increase()``, which extrapolates. A series that was not there then
    began at 0 since.
    """
    return since("torii_credits_spent_total", by, over, chosen, minus="torii_credits_refunded_total")


def since(counter: str, by: str, over: str, chosen: str = "", *, minus: str | None = None) -> str:
    """What a counter of the books, less another one, grew by in the last ``over``."""
    group = f"sum by ({by})" if by else "sum"

    def at(offset: str) -> str:
        less = f" - {minus}{chosen}{offset}" if minus else ""
        return f"{group} ({counter}{chosen}{offset}{less})"

    return f"{at('')} - ({at(f' offset {over}')} or {at('')} * 0)"


def quantile(share: float, histogram: str, by: str = "", chosen: str = "", over: str = "$__rate_interval") -> str:
    """A quantile of a histogram, of all series together or by labels."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({histogram}_bucket{chosen}[{over}])))"


def share(counter: str, some: str, by: str = "", chosen: str = "", over: str = "$__rate_interval") -> str:
    """Which part of what a process's own counter grew by is of ``some`` labels; nothing where it did not grow."""
    group = f"sum by ({by})" if by else "sum"
    narrowed = f"{{{chosen.strip('{}')},{some}}}" if chosen else f"{{{some}}}"
    whole = f"{group} (rate({counter}{chosen}[{over}]))"
    # Of a kind that never came there is no series, which is a share of 0.
    return f"({group} (rate({counter}{narrowed}[{over}])) or {whole} * 0) / ({whole} > 0)"


def rate(counter: str, by: str, chosen: str = "", over: str = "$__rate_interval") -> str:
    """How fast a process's own counter grows, by labels."""
    return f"sum by ({by}) (rate({counter}{chosen}[{over}]))"
