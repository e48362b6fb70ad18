"""``torii generate``: orders pictures of a gateway as any caller does, waits, and saves them. Holds no rule about jobs.

A key pays: the caller's own, or with ``--team`` one that an administrator makes for this order alone.
"""

import asyncio
import os
import sys
import uuid
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import access, amounts, inline, late, places, progress, references, screen, wishes
from cli.access import Access
from cli.failures import Failure, Status
from cli.ordering import Order, Run
from cli.pictures import Saved
from cli.places import Place
from cli.screen import AsJson
from gateway import errors

app = typer.Typer(add_completion=False)

Prompt = Annotated[str, typer.Argument(help="What the picture should show; - reads it from standard input.")]
Model = Annotated[
    str | None,
    typer.Option(help="The model's id. \\[default: flux-2-max]", autocompletion=wishes.models, show_default=False),
]
Param = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="Any parameter of the gateway's model; may be given several times."),
]
Reference = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE|URL|UPLOAD",
        help="A picture to start from, for a model that takes them; may be given several times.",
    ),
]
Out = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="DIR|FILE", help="Where pictures are saved. \\[default: this directory]"),
]
Team = Annotated[
    str | None,
    typer.Option(help="As an administrator: order for this team, which pays, with a key that lives no longer."),
]
KeyFile = Annotated[Path | None, typer.Option(help="A file with a team's key. \\[default: TORII_API_KEY]")]
Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The gateway's address. \\[default: TORII_URL, or the gateway of this directory]"),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="With --team and --url: a file with the admin token. \\[default: TORII_ADMIN_TOKEN]"),
]
Timeout = Annotated[str, typer.Option(metavar="SPAN", help="How long to wait, such as 90s or 2h.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the pictures, or just print the job's id.")]
SameOrder = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The same text is the same order, which is paid for once.")
]
Cache = Annotated[bool, typer.Option("--cache/--no-cache", help="Whether a picture that was made before will do.")]
Show = Annotated[bool, typer.Option("--show/--no-show", help="Show the pictures in a terminal that can.")]
Open = Annotated[bool, typer.Option("--open", help="Open the pictures with the desktop's program for them.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the files' names.")]

_STDIN: Final = "-"


@app.command(cls=wishes.WithWishes)
def generate(
    context: typer.Context,
    prompt: Prompt,
    model: Model = None,
    param: Param = None,
    reference: Reference = None,
    out: Out = None,
    team: Team = None,
    key_file: KeyFile = None,
    url: Url = None,
    token_file: TokenFile = None,
    timeout: Timeout = "15m",
    wait: Wait = True,
    idempotency_key: SameOrder = None,
    cache: Cache = True,
    show: Show = True,
    open_them: Open = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Order pictures, wait for them and save them; prints each file's name on a line of its own.

    Ctrl-C ends the waiting and cancels nothing.
    """
    place, chosen = places.place(out), model or wishes.first_model()
    try:
        order = Order(
            model=chosen,
            body=_body(prompt, {**_promised(chosen, place), **context.obj}, wishes.parse(param or [])),
            idempotency_key=idempotency_key or str(uuid.uuid4()),
            headers={} if cache else {"Cache-Control": "no-cache"},
            wait_s=amounts.seconds("--timeout", timeout),
            place=place if wait else None,
            there=access.options(url, token_file, key_file),
            references=references.read(reference or []),
        )
        run = Run(order, progress.teller(quiet=quiet or as_json))
        way = _way(run, team, url, key_file, token_file)
    except errors.InvalidRequest as wrong:
        raise Failure(wrong.code, wrong.message, Status.MISTAKE, param=wrong.param) from None
    if order.place is not None:
        order.place.prepare()
    try:
        asyncio.run(run.whole(way))
    except KeyboardInterrupt:
        raise run.interrupted() from None
    _say(run, as_json=as_json, show=show)
    if open_them:
        for saved in run.saved:
            typer.launch(str(saved.path))


def _body(prompt: str, options: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """The order's body; what is said twice is a mistake."""
    text = sys.stdin.read().strip() if prompt == _STDIN else prompt
    if not text:
        raise typer.BadParameter("it is empty", param_hint="'PROMPT'")
    body = {"prompt": text, **options}
    for name in params:
        if name in body:
            raise typer.BadParameter(f"{name} is given twice", param_hint="'--param'")
    return {**body, **params}


def _promised(model: str, place: Place) -> dict[str, str]:
    """The output format that the file's name asks for, where the model has it."""
    wanted = place.wanted_format
    return {"output_format": wanted} if wanted and wishes.takes(model, "output_format", wanted) else {}


def _way(
    run: Run, team: str | None, url: str | None, key_file: Path | None, token_file: Path | None
) -> AbstractAsyncContextManager[Access]:
    """The gateway and the key that the options mean."""
    if team is None:
        if token_file is not None:
            raise errors.InvalidParameter("--token-file goes with --team", param="token-file")
        return nullcontext(access.found(url, key_file))
    if key_file is not None:
        raise errors.InvalidParameter("give either --team or --key-file", param="team")
    lent: AbstractAsyncContextManager[Access] = late.module("cli.short_key").lent(
        team, access.administered(url), token_file, for_s=run.order.wait_s, teller=run.teller
    )
    return lent


def _say(run: Run, *, as_json: bool, show: bool) -> None:
    job = run.job or {}
    if as_json:
        files = {} if run.order.place is None else {"files": [str(saved.path) for saved in run.saved]}
        screen.write_json({**job, **files})
        return
    if run.order.place is None:
        sys.stdout.write(f"{screen.plain(job['jobId'])}\n")
    for saved in run.saved:
        if show:
            draw(saved)
        sys.stdout.write(f"{saved.path}\n")


def draw(saved: Saved) -> None:
    """Show a picture in the terminal, if it can; a picture that cannot be shown is saved all the same."""
    protocol = inline.spoken(os.environ) if sys.stdout.isatty() else None
    if protocol is not None:
        with suppress(OSError, ValueError):
            sys.stdout.write(inline.drawn(saved.data, protocol))
