"""A real Chromium, without a window, led by Playwright: Debian's, from the path. Downloads no browser of its own."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, async_playwright

from tests.support.report import UnavailableError

#: Nothing but the page under test is to be asked for anything; no sandbox, since the tests may be run by root.
ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: How htmx begins to tell that a request did not come to its end.
_UNSENT: Final = ("htmx:sendError", "htmx:sendAbort", "htmx:afterRequest")


class Chromium:
    """The program."""

    def __init__(self) -> None:
        found = shutil.which("chromium")
        if found is None:
            raise UnavailableError("chromium not installed: run tests/support/install-servers")
        self.path = found

    @property
    def version(self) -> str:
        """What it says it is."""
        said = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=True, timeout=30)
        return said.stdout.strip().split(" built on")[0].lower()

    def start(self) -> Self:
        """Nothing to start: each test has a browser of its own."""
        return self

    def remove(self) -> None:
        """Nothing to remove."""

    @asynccontextmanager
    async def launched(self) -> AsyncIterator[Browser]:
        """A browser, ended at the end."""
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=self.path, args=list(ARGUMENTS))
            try:
                yield browser
            finally:
                await browser.close()


class Watched:
    """A browser's window onto one gateway, that takes down whatever should not have happened.

    That is: a request to another host, an error on the browser's console (a broken content policy is one), an error
    that a script did not catch, and an answer of 500 or more.
    """

    def __init__(self, context: BrowserContext, page: Page, base_url: str) -> None:
        self.context = context
        self.page = page
        self.faults: list[str] = []
        self._host = urlsplit(base_url).netloc
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("response", self._answer)
        page.on("requestfailed", self._failed)

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != self._host:
            self.faults.append(f"another host was asked: {request.url}")

    def _answer(self, answer: Response) -> None:
        if answer.status >= 500:
            self.faults.append(f"{answer.status} {answer.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":
            self.faults.append(f"{request.failure} {request.url}")

    def _console(self, message: ConsoleMessage) -> None:
        # A refusal that the test asked for is told there too: the test itself looks at it. What could not be sent is
        # told there even if the page was left meanwhile: `_failed` tells the two apart.
        told = message.text
        if message.type == "error" and "Failed to load resource" not in told and not told.startswith(_UNSENT):
            self.faults.append(f"console: {message.text}")


@asynccontextmanager
async def window(
    browser: Browser, base_url: str, *, width: int = 1280, height: int = 900, theme: Any = "light"
) -> AsyncIterator[Watched]:
    """A window of that size; at its end nothing may have gone wrong in it."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, base_url=base_url
    )
    context.set_default_timeout(20_000)
    try:
        watched = Watched(context, await context.new_page(), base_url)
        yield watched
        assert not watched.faults, watched.faults
    finally:
        await context.close()


async def sign_in(page: Page, credential: str) -> None:
    """Sign in with a key or the admin token, as a person would."""
    await page.goto("/console/sign-in")
    await page.get_by_label("Team key or admin token").fill(credential)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/console")


async def pictures_seen(page: Page) -> None:
    """Return once every picture of the page is there and whole; an error of the page's, for one that is broken."""
    # A function, not a text to be waited for: the pages' policy lets nobody evaluate one.
    await page.evaluate("() => Promise.all([...document.querySelectorAll('main img')].map((each) => each.decode()))")
