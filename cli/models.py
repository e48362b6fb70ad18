"""``torii models``: lists what a picture of each model costs here, sets it, and compares with the upstream's list."""

from types import MappingProxyType
from typing import Annotated, Final

import typer

from cli import amounts, late, mistakes, reach, screen
from cli.reach import TokenFile, Url
from cli.screen import AsJson
from gateway import errors
from service import admin_upstream

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List the models' prices, set them, compare them.")

_COLUMNS: Final = MappingProxyType(
    {
        "apiId": "MODEL",
        "resolution": "RESOLUTION",
        "credits": "CREDITS",
        "whose": "WHOSE",
        "blockedAt": "BLOCKED",
    }
)
_DRIFT: Final = MappingProxyType(
    {"model": "MODEL", "kind": "DIFFERENCE", "parameter": "PARAMETER", "ours": "OURS", "theirs": "UPSTREAM"}
)


@app.command("list")
def listing(url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """List the models with the prices now in force."""
    found = reach.ask(url, token_file, admin_upstream.LIST_MODELS)["models"]
    if as_json:
        screen.write_json(found)
        return
    rows = [
        {
            **line,
            "apiId": model["apiId"],
            "whose": "operator" if line["byOperator"] else "upper bound" if line["bound"] else "catalogue",
        }
        for model in found
        for line in model["prices"]
    ]
    screen.table(rows, _COLUMNS, nothing="no models")


@app.command()
def price(
    model: Annotated[str, typer.Argument(help="A model's id.")],
    resolution: Annotated[str, typer.Argument(help="Such as '1 MP'.")],
    credits: Annotated[str, typer.Argument(help="What one picture costs.")],
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Set what one picture costs, which lifts a block."""
    body = {"credits": amounts.credits("CREDITS", credits)}
    place = {"model": model, "resolution": resolution}
    found = reach.ask(url, token_file, admin_upstream.PUT_PRICE, place, body=body)
    screen.show(found, f"a picture of {model} at {resolution} costs {credits} credits", as_json=as_json)


@app.command()
def drift(
    pinned: Annotated[bool, typer.Option("--pinned", help="Leave out models that are not sold here.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare the catalogue with what the upstream lists now. Asks without a key and spends nothing.

    The exit status is 0 where nothing is different, 1 where something is, and 2 where they could not be compared.
    """
    query = {"pinned": "true" if pinned else None}
    try:
        # Loaded here alone: no other command of this group needs an HTTP client.
        found = reach.ask(url, token_file, late.module("service.admin_drift").DRIFT, query=query)
    except errors.ToriiError as error:
        mistakes.report(error, as_json=as_json)
        raise typer.Exit(2) from None
    if as_json:
        screen.write_json(found)
    else:
        rows = [
            {**line, "ours": _value(line["ours"]), "theirs": _value(line["theirs"])} for line in found["differences"]
        ]
        screen.table(rows, _DRIFT, nothing=f"{found['models']} models are as the upstream lists them")
    if found["differences"]:
        raise typer.Exit(1)


def _value(told: object) -> str | None:
    """A text as it is, anything else as JSON spells it."""
    return told if told is None or isinstance(told, str) else screen.encode(told)
