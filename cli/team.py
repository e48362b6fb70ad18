"""``torii team``: makes, lists, changes, drains, exports and deletes teams. Holds no rule about teams."""

from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from cli import amounts, reach, screen
from cli.reach import Reach, TokenFile, Url
from cli.screen import AsJson
from gateway import errors
from gateway.ledger.budgets import Window
from service import admin_budgets, admin_retention, admin_teams

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make, list, change, drain, export and delete teams."
)

_COLUMNS: Final = MappingProxyType(
    {
        "name": "NAME",
        "id": "ID",
        "rpm": "RPM",
        "concurrency": "CONCURRENCY",
        "queueDepth": "QUEUE",
        "maxQueueS": "MAX QUEUE S",
        "drainedAt": "DRAINED",
        "createdAt": "CREATED",
    }
)

#: What of a team is told in lines of its own.
_NESTED: Final = ("budgets", "policy", "cache", "retention")

Name = Annotated[str, typer.Argument(help="A team's name or id.")]
Budget = Annotated[str | None, typer.Option(help="Credits that may be spent and held in a window.")]
Soft = Annotated[str | None, typer.Option(help="Credits of the budget that warn when they are passed.")]
OfWindow = Annotated[Window | None, typer.Option(help="The budget's window, in UTC. \\[default: month]")]
Rpm = Annotated[int | None, typer.Option(help="New generations a minute.")]
Concurrency = Annotated[int | None, typer.Option(help="Jobs in flight; 0 takes the limit away.")]
QueueDepth = Annotated[int | None, typer.Option(help="Jobs waiting.")]
MaxQueueS = Annotated[int | None, typer.Option(help="Seconds that a job may wait.")]
WebhookUrl = Annotated[
    str | None, typer.Option("--webhook-url", metavar="HOOK", help="Where the ends of its jobs are told.")
]
CacheTtl = Annotated[
    str | None,
    typer.Option("--cache-ttl", help="How long a picture answers the same request again: 12h, 30d; 0s: for ever."),
]
Unseeded = Annotated[
    bool | None,
    typer.Option(
        "--cache-unseeded/--no-cache-unseeded", help="Answer requests without a seed again too.", show_default=False
    ),
]
Pool = Annotated[
    bool | None,
    typer.Option(
        "--cache-pool/--no-cache-pool", help="Share pictures with the other teams that do.", show_default=False
    ),
]
PicturesDays = Annotated[
    int | None,
    typer.Option("--keep-pictures-days", min=0, help="Erase a job's pictures so many days after its end; 0: never."),
]
PromptsDays = Annotated[
    int | None,
    typer.Option("--keep-prompts-days", min=0, help="Erase what a job was asked for after so many days; 0: never."),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dots, dashes, underscores.")],
    budget: Budget = None,
    window: OfWindow = None,
    soft: Soft = None,
    rpm: Rpm = None,
    concurrency: Concurrency = None,
    queue_depth: QueueDepth = None,
    max_queue_s: MaxQueueS = None,
    webhook_url: WebhookUrl = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a team, with a budget if one is given."""
    body = {"name": name, **_limits(rpm, concurrency, queue_depth, max_queue_s), **_webhook(webhook_url)}
    wanted = _budget(budget, window, soft)
    if wanted is not None:
        body["budgets"] = [wanted]
    team = reach.ask(url, token_file, admin_teams.CREATE, body=body)
    said = f"team {team['name']} made ({team['id']}); give it a key with: torii key create {team['name']}"
    screen.show(team, said, as_json=as_json)


@app.command("list")
def listing(url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """List all teams."""
    rows = reach.carry_out(url, token_file, lambda way: reach.listed(way, admin_teams.LIST, "teams"))
    if as_json:
        screen.write_json(rows)
    else:
        screen.table(rows, _COLUMNS, nothing="no teams yet; make one with: torii team create NAME")


@app.command()
def show(name: Name, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Show one team, and how it stands."""
    _facts(reach.ask(url, token_file, admin_teams.READ, {"team": name}), as_json=as_json)


@app.command()
def update(
    name: Name,
    budget: Budget = None,
    window: OfWindow = None,
    soft: Soft = None,
    no_budget: Annotated[bool, typer.Option("--no-budget", help="Take the window's budget away.")] = False,
    rpm: Rpm = None,
    concurrency: Concurrency = None,
    queue_depth: QueueDepth = None,
    max_queue_s: MaxQueueS = None,
    webhook_url: WebhookUrl = None,
    no_webhook_url: Annotated[bool, typer.Option("--no-webhook-url", help="Tell it of no ends any more.")] = False,
    cache_ttl: CacheTtl = None,
    cache_unseeded: Unseeded = None,
    cache_pool: Pool = None,
    keep_pictures_days: PicturesDays = None,
    keep_prompts_days: PromptsDays = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Change a team's limits, its webhook URL, its cache, how long it keeps things, or its budget for a window."""
    limits = {
        **_limits(rpm, concurrency, queue_depth, max_queue_s),
        **_webhook(webhook_url, away=no_webhook_url),
        **_cache(cache_ttl, unseeded=cache_unseeded, pool=cache_pool),
        **_retention(keep_pictures_days, keep_prompts_days),
    }
    wanted = _budget(budget, window, soft, alone=no_budget)
    if no_budget and budget is not None:
        raise errors.InvalidParameter("give either --budget or --no-budget", param="budget")
    if not limits and wanted is None and not no_budget:
        raise errors.InvalidParameter("say what shall be different; see: torii team update --help")

    async def changed(way: Reach) -> Any:  # noqa: ANN401  JSON
        if limits:
            await way.ask(admin_teams.CHANGE, {"team": name}, body=limits)
        place = {"team": name, "window": (window or Window.MONTH).value}
        if wanted is not None:
            await way.ask(admin_budgets.PUT, place, body={member: wanted[member] for member in ("limit", "soft")})
        elif no_budget:
            await way.ask(admin_budgets.DELETE, place)
        return await way.ask(admin_teams.READ, {"team": name})

    _facts(reach.carry_out(url, token_file, changed), as_json=as_json)


@app.command()
def retention(
    name: Name,
    keep_pictures_days: PicturesDays = None,
    keep_prompts_days: PromptsDays = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Count what is over its time, by the team's own days or, as a trial, by these. Erases nothing."""
    query = {"picturesDays": _said(keep_pictures_days), "promptsDays": _said(keep_prompts_days)}
    found = reach.ask(url, token_file, admin_retention.COUNT, {"team": name}, query=query)
    if as_json:
        screen.write_json(found)
    else:
        screen.facts({name: value for name, value in found.items() if value is not None})


@app.command()
def rename(
    name: Name,
    new_name: Annotated[str, typer.Argument(help="Its name from now on; its id stays.")],
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a team another name."""
    team = reach.ask(url, token_file, admin_teams.CHANGE, {"team": name}, body={"name": new_name})
    screen.show(team, f"team {team['id']} is called {team['name']} now", as_json=as_json)


@app.command()
def drain(
    name: Name,
    end: Annotated[bool, typer.Option("--end", help="Take its orders again.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take no new orders of a team; what it has goes on."""
    team = reach.ask(url, token_file, admin_teams.UNDRAIN if end else admin_teams.DRAIN, {"team": name})
    said = "takes orders again" if end else f"takes no new orders; {team['unfinishedJobs']} jobs go on to their end"
    screen.show(team, f"team {team['name']} {said}", as_json=as_json)


@app.command()
def delete(name: Name, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """End a team: its keys are revoked, its name is free, its ledger stays. Refused while it has unfinished jobs.

    After `torii team drain` it is not refused, and the unfinished jobs go on to their end.
    """
    gone = reach.ask(url, token_file, admin_teams.DELETE, {"team": name})
    said = f"team {gone['name']} ({gone['id']}) is deleted; {gone['revokedKeys']} keys were revoked"
    screen.show(gone, said, as_json=as_json)


@app.command()
def export(
    name: Name,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Print all that is kept of a team but pictures and secrets, as JSON in any case."""
    del as_json
    found = reach.ask(url, token_file, admin_teams.EXPORT, {"team": name})
    if output is None:
        screen.write_json(found)
    else:
        output.write_text(screen.encode(found) + "\n")


def _limits(
    rpm: int | None, concurrency: int | None, queue_depth: int | None, max_queue_s: int | None
) -> dict[str, Any]:
    given = {"rpm": rpm, "queueDepth": queue_depth, "maxQueueS": max_queue_s}
    limits: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if concurrency is not None:
        limits["concurrency"] = concurrency or None
    return limits


def _webhook(webhook_url: str | None, *, away: bool = False) -> dict[str, Any]:
    if away and webhook_url is not None:
        raise errors.InvalidParameter("give either --webhook-url or --no-webhook-url", param="webhook-url")
    return {"webhookUrl": webhook_url} if away or webhook_url is not None else {}


def _cache(ttl: str | None, *, unseeded: bool | None, pool: bool | None) -> dict[str, Any]:
    chosen: dict[str, Any] = {} if ttl is None else {"ttlS": amounts.seconds("--cache-ttl", ttl) or None}
    chosen |= {name: value for name, value in (("unseeded", unseeded), ("pool", pool)) if value is not None}
    return {"cache": chosen} if chosen else {}


def _retention(pictures_days: int | None, prompts_days: int | None) -> dict[str, Any]:
    given = {"picturesDays": pictures_days, "promptsDays": prompts_days}
    chosen = {name: days or None for name, days in given.items() if days is not None}
    return {"retention": chosen} if chosen else {}


def _said(days: int | None) -> str | None:
    return str(days) if days else None


def _budget(
    budget: str | None, window: Window | None, soft: str | None, *, alone: bool = False
) -> dict[str, Any] | None:
    if budget is None:
        if (window is not None and not alone) or soft is not None:
            raise errors.InvalidParameter("--window and --soft go with --budget", param="budget")
        return None
    return {
        "window": (window or Window.MONTH).value,
        "limit": amounts.credits("--budget", budget),
        "soft": None if soft is None else amounts.credits("--soft", soft),
    }


def _facts(team: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        screen.write_json(team)
        return
    told = {name: value for name, value in team.items() if name not in _NESTED}
    for each in team["budgets"]:
        whose = f" of key {each['keyId']}" if each["keyId"] else ""
        used = f"{each['left']} of {each['limit']} credits left ({each['spent']} spent, {each['held']} held)"
        told[f"budget ({each['window']}){whose}"] = used
    for member, value in (team["policy"] or {}).items():
        told[f"policy.{member}"] = screen.encode(value)
    for member in ("cache", "retention"):
        told |= {f"{member}.{name}": screen.encode(value) for name, value in team[member].items()}
    screen.facts(told)
