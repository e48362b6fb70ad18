"""The list of commands, each in a module of its own that is imported only when it is called.

So ``torii --help`` costs no database driver and no web framework. Runs no command itself.
"""

from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cli import late

#: Each command's module and what it is for, in the order in which a newcomer meets them.
COMMANDS: Final = MappingProxyType(
    {
        "up": ("cli.up", "Run a whole gateway on this machine."),
        "serve": ("cli.serve", "Run the HTTP service."),
        "work": ("cli.work", "Run one worker."),
        "migrate": ("cli.migrate", "Bring the database to this release's schema."),
        "generate": ("cli.generate", "Order pictures, wait for them and save them."),
        "doctor": ("cli.doctor", "Check every part and say what is wrong."),
        "team": ("cli.team", "Make, list, change, drain, export and delete teams."),
        "key": ("cli.key", "Make, list, limit, rotate and revoke the keys of teams."),
        "jobs": ("cli.jobs", "List, show, watch, cancel, requeue and settle jobs."),
        "usage": ("cli.usage", "Where the credits went."),
        "ledger": ("cli.ledger", "List the ledger's entries, and correct them by new ones."),
        "cache": ("cli.cache", "Show what the cache holds, and take things out of it."),
        "pause": ("cli.pause", "Send nothing more of a team, of a model, or at all."),
        "resume": ("cli.resume", "End a pause."),
        "webhooks": ("cli.webhooks", "List and replay webhooks, and rotate what they are signed with."),
        "upstream": ("cli.upstream", "Show, resume and top up the upstream account."),
        "models": ("cli.models", "List the models' prices, and set them."),
        "apply": ("cli.apply", "Make teams, limits, budgets, policies and cache choices as a file has them."),
        "backup": ("cli.backup", "Back the record up into one file, while everything runs."),
        "restore": ("cli.restore", "Bring a backup into an empty place, or repair the record after a failover."),
        "completion": ("cli.completion", "Print what makes a shell complete torii's commands."),
        "openapi": ("cli.openapi", "Print the OpenAPI document of the service."),
    }
)


class Menu(TyperGroup):
    """A group that knows its commands' names and imports a command's module once it is called."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401  typer hands its own on
        super().__init__(**attributes)
        for name, (_, purpose) in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=purpose))

    def resolve_command(
        self,
        ctx: Any,  # noqa: ANN401  its class is private to typer
        args: list[str],
    ) -> tuple[str | None, Any, list[str]]:
        """The named command itself, not its entry in the list."""
        name, entry, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, entry, rest
        command = get_command(_app(name))
        command.name = name
        return name, command, rest


def _app(name: str) -> typer.Typer:
    app: typer.Typer = late.module(COMMANDS[name][0]).app
    return app
