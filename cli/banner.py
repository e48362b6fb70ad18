"""What ``torii up`` tells a newcomer once everything runs: where, with which key, and lines that work as pasted.

The lines stand outside the box and are never broken, since a border or a line break would be pasted too.
"""

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

#: What the box's sides take of a line.
_BORDER = 4
_MODEL = "flux-2-max"
_PROMPT = '{"prompt":"A torii gate at dawn"}'


@dataclass(frozen=True)
class Welcome:
    """What there is to tell."""

    url: str
    admin_token: str
    team: str
    key: str
    emulated_s: float | None

    def order_line(self) -> str:
        """One ``curl`` that orders a picture; its answer says where to read on."""
        return f"curl -s {self._run_url} -H 'Authorization: Bearer {self.key}' {self._body}"

    def picture_line(self) -> str:
        """One line for any shell that orders a picture, waits, and saves it."""
        return (
            f"auth='Authorization: Bearer {self.key}'; "
            f'url=$(curl -s {self._run_url} -H "$auth" {self._body} '
            """| sed 's/.*"statusUrl":"\\([^"]*\\)".*/\\1/'); """
            """while job=$(curl -s "$url" -H "$auth"); printf %s "$job" | grep -q '"status":"p'; do sleep 1; done; """
            """curl -fso picture.png "$(printf %s "$job" | sed 's/.*"images":\\["\\([^"]*\\)".*/\\1/')" """
            """&& ls -l picture.png || printf '%s\\n' "$url" "$job\""""
        )

    def draw(self, out: Console) -> None:
        """Print all of it."""
        facts = Text()
        for name, value in (
            ("URL", self.url),
            ("API docs", f"{self.url}/schema"),
            ("admin token", self.admin_token),
            (f"key of team {self.team}", self.key),
        ):
            facts.append(f"{name:<20}", style="bold")
            facts.append(f"{value}\n")
        facts.append("These stay the same at each start here; var/ keeps them, with every picture.", style="dim")
        if out.width < out.measure(facts).maximum + _BORDER:
            # A key that is broken over two lines of a box cannot be copied.
            out.print(facts, soft_wrap=True)
        else:
            out.print(Panel(facts, title="Torii is up", box=box.ROUNDED, border_style="green", expand=False))
        price = "" if self.emulated_s is not None else " (for real credits)"
        out.print(f"Order a picture{price} and save it as picture.png, in another terminal:\n", style="bold")
        out.print(Text(self.picture_line()), soft_wrap=True)
        out.print("\nOr just order it; the answer says where to read on:\n", style="bold")
        out.print(Text(self.order_line()), soft_wrap=True)
        out.print("")

    def members(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "url": self.url,
            "docs": f"{self.url}/schema",
            "adminToken": self.admin_token,
            "team": self.team,
            "key": self.key,
            "emulated": self.emulated_s is not None,
        }

    @property
    def _run_url(self) -> str:
        return f"{self.url}/api/v1/models/{_MODEL}/run"

    @property
    def _body(self) -> str:
        return f"-H 'Content-Type: application/json' -d '{_PROMPT}'"
