"""``torii upstream``: shows the upstream account as it was last seen, resumes submitting, and notes topups."""

from typing import Annotated

import typer

from cli import amounts, reach, screen
from cli.reach import TokenFile, Url
from cli.screen import AsJson
from service import admin_upstream

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Show, resume and top up the upstream account.")


@app.command()
def status(url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Show the account: its balance as last seen, what the ledger expects, and whether submitting rests."""
    found = reach.ask(url, token_file, admin_upstream.STATUS)
    held = reach.ask(url, token_file, admin_upstream.LIST_PAUSES)["pauses"]
    if as_json:
        screen.write_json({**found, "pauses": held})
        return
    for each in held:
        found[f"paused: {' '.join(filter(None, (each['scope'], each['subject'])))}"] = f"since {each['since']}"
    screen.facts({name: value for name, value in found.items() if value is not None})


@app.command()
def resume(url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Submit again at once, after credits ran out or a key was refused."""
    found = reach.ask(url, token_file, admin_upstream.RESUME_UPSTREAM)
    screen.show(found, "submitting goes on", as_json=as_json)


@app.command()
def topup(
    credits: Annotated[str, typer.Argument(metavar="N", help="Credits that were put into the account.")],
    reference: Annotated[str | None, typer.Option(help="Such as an invoice's; twice the same is refused.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Note credits that were put into the account, before an answer of the upstream's shows them."""
    body = {"credits": amounts.credits("N", credits), "reference": reference}
    found = reach.ask(url, token_file, admin_upstream.TOPUP, body=body)
    expected = found["expected"]
    said = "noted" if expected is None else f"noted; the account is expected to have {expected} credits"
    screen.show(found, said, as_json=as_json)
