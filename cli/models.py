"""``torii models``: lists what a picture of each model costs here, and sets it."""

from types import MappingProxyType
from typing import Annotated, Final

import typer

from cli import amounts, reach, screen
from cli.reach import TokenFile, Url
from cli.screen import AsJson
from service import admin_upstream

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List the models' prices, and set them.")

_COLUMNS: Final = MappingProxyType(
    {
        "apiId": "MODEL",
        "resolution": "RESOLUTION",
        "credits": "CREDITS",
        "whose": "WHOSE",
        "blockedAt": "BLOCKED",
    }
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
