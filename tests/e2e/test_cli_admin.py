"""The operator's commands, each straight on the stores and over HTTP: the same command, the same answer both ways."""

import json
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger import proof
from gateway.reuse import entries
from gateway.reuse.entries import Keeping
from gateway.reuse.places import Place
from gateway.storage import tables
from tests.api.door import ADMIN_TOKEN, Door, environment
from tests.api.test_images import picture
from tests.support import command, ports

#: What a store command is not told, and a remote one is told alone.
APART = ("TORII_ADMIN_TOKEN",)


@dataclass(frozen=True)
class Desk:
    """Where an operator sits: beside the stores, or anywhere with an address and a token."""

    folder: Path
    door: Door
    settings: dict[str, str]
    remote: bool

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        if self.remote:
            words = (*words, "--url", self.door.base_url)
        environ = {"PATH": os.environ["PATH"], **self.settings, **more}
        return command.run(words, folder=self.folder, environment=environ)

    def json(self, *words: str) -> Any:
        """Run it with --json; its stdout, parsed."""
        done = self.run(*words, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)

    def refused(self, *words: str) -> str:
        """Run it, see it fail with one line, and return the line."""
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert done.stderr.count("\n") == 1
        return done.stderr


@pytest.fixture(params=["stores", "url"])
async def desk(request: pytest.FixtureRequest, sqlite_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    """Give a desk beside a running gateway: once on its stores, once with its address and token alone."""
    environ = environment(sqlite_url, redis_url, str(tmp_path / "archive"), ports.free_one())
    remote = request.param == "url"
    settings = {name: text for name, text in environ.items() if (name in APART) is remote}
    async with Door(environ) as door:
        yield Desk(tmp_path, door, settings, remote)


async def test_a_team_is_made_and_changed(desk: Desk) -> None:
    """A team is made with a budget, changed and renamed, and shown as it is then."""
    team = desk.json("team", "create", "drawing", "--budget", "500.5", "--window", "day", "--rpm", "60")
    assert [(each["window"], each["limit"]) for each in team["budgets"]] == [("day", 500.5)]
    desk.json("team", "update", "drawing", "--budget", "9", "--soft", "8", "--concurrency", "3")
    changed = desk.json("team", "update", "drawing", "--no-budget", "--window", "day", "--concurrency", "0")
    assert [(each["window"], each["limit"], each["soft"]) for each in changed["budgets"]] == [("month", 9, 8)]
    assert (changed["rpm"], changed["concurrency"]) == (60, None)
    assert desk.json("team", "rename", "drawing", "painting")["name"] == "painting"
    assert "9 of 9 credits left" in desk.run("team", "show", "painting").stdout


async def test_a_team_is_ended(desk: Desk) -> None:
    """A team is drained, exported and deleted, and the audit log names who did it."""
    team = await desk.door.team("drawing")
    assert "takes no new orders" in desk.run("team", "drain", "drawing").stdout
    assert desk.json("team", "drain", "drawing", "--end")["drainedAt"] is None
    assert desk.json("team", "export", team.id)["team"]["name"] == "drawing"
    assert "no team 'nobody'" in desk.refused("team", "rename", "nobody", "x")
    assert desk.json("team", "delete", "drawing")["revokedKeys"] == 0
    assert desk.json("team", "list") == []
    rows = await desk.door.rows(tables.audit)
    assert [row["action"] for row in rows] == ["team.drain", "team.undrain", "team.delete"]
    assert {row["actor"].partition(":")[0] for row in rows} == ({"admin token"} if desk.remote else {"cli"})


async def test_a_key_is_made_and_rotated(desk: Desk) -> None:
    """A key is made with limits and a budget, changed, rotated with a grace, and revoked."""
    await desk.door.team("drawing")
    made = desk.json("key", "create", "drawing", "--rpm", "5", "--budget", "3", "--scope", "generate")
    assert (made["rpm"], made["scopes"]) == (5, ["generate"])
    assert desk.json("key", "update", made["id"], "--rpm", "0")["rpm"] is None
    after = desk.json("key", "rotate", made["key"], "--grace", "24h")
    states = {row["id"]: (row["state"], row["successor"]) for row in desk.json("key", "list", "drawing")}
    assert states == {made["id"]: ("living", after["id"]), after["id"]: ("living", None)}
    assert desk.json("key", "revoke", made["id"])["state"] == "revoked"
    for status in (202, 402):
        assert (await desk.door.run({"Authorization": f"Bearer {after['key']}"})).status_code == status
    assert "rpm" in desk.refused("key", "create", "drawing", "--rpm", "-1")


async def test_webhooks_are_listed_and_sent_again(desk: Desk) -> None:
    """A team's URL is set and taken away, a secret is shown once, and a delivery is found, shown and replayed."""
    headers = await desk.door.caller("drawing")
    hook = "https://hooks.example/torii"
    assert desk.json("team", "update", "drawing", "--webhook-url", hook)["webhookUrl"] == hook
    assert "use https" in desk.refused("team", "update", "drawing", "--webhook-url", "http://hooks.example/")
    assert desk.json("webhooks", "rotate-secret", "drawing", "--grace", "1h")["secret"].startswith("whsec_")
    job_id = (await desk.door.run(headers)).json()["jobId"]
    await desk.door.client.post(f"/api/v1/jobs/{job_id}/cancel", headers=headers)
    (row,) = desk.json("webhooks", "list", "--team", "drawing", "--state", "pending")
    assert (row["jobId"], row["url"], row["tries"]) == (job_id, hook, 0)
    assert row["id"] in desk.run("webhooks", "show", row["id"]).stdout
    for name in (row["id"], job_id):
        assert desk.json("webhooks", "replay", name)["id"] == row["id"]
    assert "no delivery" in desk.refused("webhooks", "replay", "job_none")
    assert desk.json("team", "update", "drawing", "--no-webhook-url")["webhookUrl"] is None


async def test_the_ledger_is_corrected(desk: Desk) -> None:
    """Corrections are booked once by their references, a refund is at most the cost, and the book stays right."""
    job_id = (await desk.door.run(await desk.door.caller("drawing"))).json()["jobId"]
    adjusted = ("ledger", "adjust", "--team", "drawing", "--credits", "-0.25", "--reference", "t-1", "--note", "late")
    assert desk.json(*adjusted)["credits"] == -0.25
    assert "already" in desk.refused(*adjusted)
    refund = ("ledger", "refund", "--job", job_id, "--reference", "t-3")
    assert "has cost 0 credits" in desk.refused(*refund, "--credits", "1")
    assert desk.json("ledger", "adjust", "--job", job_id, "--credits", "2", "--reference", "t-2")["jobId"] == job_id
    assert desk.json(*refund)["credits"] == 2
    rows = desk.json("ledger", "list", "--team", "drawing", "--limit", "3")
    kinds = [(row["kind"], row["credits"], row["reference"]) for row in rows]
    assert kinds == [("refund", 2, "t-3"), ("adjust", 2, "t-2"), ("adjust", -0.25, "t-1")]
    async with desk.door.database.read() as connection:
        assert await proof.differences(connection) == []


async def test_where_the_credits_went(desk: Desk) -> None:
    """Usage is a table, JSON or a sheet, and a mistake in an option is told on one line."""
    await desk.door.run(await desk.door.caller("drawing"))
    report = desk.json("usage", "--by", "model")
    assert [(line["model"], line["jobs"], line["held"]) for line in report["usage"]] == [("flux-2-max", 1, 2)]
    assert "SPENT" in desk.run("usage", "--team", "drawing").stdout
    sheet = desk.run("usage", "--format", "csv", "--by", "key").stdout.splitlines()
    assert sheet[0] == "team,teamId,keyId,key,jobs,pictures,charged,refunded,adjusted,spent,held,reused,saved"
    assert "use a day" in desk.refused("usage", "--since", "yesterday")
    assert "no amount" in desk.refused("ledger", "adjust", "--team", "drawing", "--credits", "much", "--reference", "x")


async def test_the_cache_is_chosen_shown_and_purged(desk: Desk) -> None:
    """A team's choices are set and shown, the cache is looked into, and a purge says how much is gone."""
    headers = await desk.door.caller("drawing")
    nothing = desk.run("cache", "show")
    assert (nothing.returncode, "nothing is kept" in nothing.stdout) == (0, True)
    changed = desk.json("team", "update", "drawing", "--cache-ttl", "30d", "--cache-unseeded", "--cache-pool")
    assert changed["cache"] == {"ttlS": 2_592_000, "unseeded": True, "pool": True}
    changed = desk.json("team", "update", "drawing", "--cache-ttl", "0s", "--no-cache-unseeded")
    assert changed["cache"] == {"ttlS": None, "unseeded": False, "pool": True}
    assert "cache.pool" in desk.run("team", "show", "drawing").stdout
    assert "cache.ttlS" in desk.refused("team", "update", "drawing", "--cache-ttl", "9999w")
    for _ in range(2):
        await cached(desk.door, headers)
    (line,) = desk.json("cache", "show", "--team", "drawing")["cache"]
    assert (line["model"], line["entries"], line["shared"], line["saved"]) == ("flux-2-max", 2, 0, 0)
    assert "flux-2-max" in desk.run("cache", "show").stdout
    assert desk.json("cache", "purge", "--model", "flux-2-pro") == {"purged": 0, "immediate": True}
    done = desk.run("cache", "purge", "--team", "drawing", "--model", "flux-2-max")
    assert (done.returncode, done.stdout) == (0, "2 entries are gone\n")
    assert desk.json("cache", "purge", "--all")["purged"] == 0
    assert "give `all`" in desk.refused("cache", "purge")
    assert "no team" in desk.refused("cache", "purge", "--team", "nobody")


async def test_jobs_are_erased_and_things_kept_for_days(desk: Desk) -> None:
    """A job is erased for good; a team's days are chosen, shown, counted as a trial, and part of a file."""
    headers = await desk.door.caller("drawing")
    job_id = str((await desk.door.run(headers)).json()["jobId"])
    await desk.door.finish(job_id, picture())
    changed = desk.json("team", "update", "drawing", "--keep-pictures-days", "30", "--keep-prompts-days", "7")
    assert changed["retention"] == {"picturesDays": 30, "promptsDays": 7}
    changed = desk.json("team", "update", "drawing", "--keep-prompts-days", "0")
    assert changed["retention"] == {"picturesDays": 30, "promptsDays": None}
    assert "retention.picturesDays" in desk.run("team", "show", "drawing").stdout
    found = desk.json("team", "retention", "drawing", "--keep-prompts-days", "1")
    assert (found["promptsDays"], found["prompts"], found["pictures"]) == (1, 0, 0)
    file = desk.folder / "teams.toml"
    file.write_text('[[teams]]\nname = "drawing"\nretention = { promptsDays = 3, picturesDays = 30 }\n')
    (change,) = desk.json("apply", "-f", str(file))["changes"]
    assert change["to"] == {"retention": {"promptsDays": 3}}
    assert desk.json("apply", "-f", str(file))["changes"] == []
    assert desk.json("jobs", "erase", job_id)["immediate"] is True
    assert "is erased" in desk.run("jobs", "erase", job_id).stdout
    assert (await desk.door.client.get(f"/api/v1/jobs/{job_id}", headers=headers)).json()["assets"] == []
    assert "there is no job" in desk.refused("jobs", "erase", "job_none")


async def test_a_purge_needs_no_redis(desk: Desk) -> None:
    """A command on the stores that is told of no Redis purges all the same, and says that copies may live on."""
    await cached(desk.door, await desk.door.caller("drawing"))
    desk.settings.pop("TORII_REDIS_URL", None)
    done = desk.run("cache", "purge", "--all")
    assert (done.returncode, done.stdout.startswith("1 entries are gone")) == (0, True)
    assert ("up to a minute more" in done.stdout) is not desk.remote


async def cached(door: Door, headers: dict[str, str]) -> str:
    """A completed job that answers some request again; its id."""
    job_id = str((await door.run(headers)).json()["jobId"])
    await door.finish(job_id, picture())
    (job,) = [row for row in await door.rows(tables.jobs) if row["id"] == job_id]
    place = Place(job["team_id"], secrets.token_hex(32))
    async with door.database.write() as tx:
        await entries.put(tx, place, Keeping(job["team_id"], job["model"], job_id, 2_000_000), datetime.now(UTC))
    return job_id


async def test_jobs_are_seen_and_taken_back(desk: Desk) -> None:
    """Jobs are listed, shown, nudged, taken back and watched to their end."""
    job_id = (await desk.door.run(await desk.door.caller("drawing"))).json()["jobId"]
    assert [row["id"] for row in desk.json("jobs", "list", "--state", "queued", "--team", "drawing")] == [job_id]
    assert desk.json("jobs", "show", job_id)["parameters"]["prompt"] == "a torii gate in rain"
    assert "workers' notice" in desk.run("jobs", "requeue", job_id).stdout
    assert desk.json("jobs", "cancel", job_id)["state"] == "cancelled"
    assert desk.run("jobs", "watch", job_id).returncode == 4


async def test_a_team_is_paused(desk: Desk) -> None:
    """A team is paused and resumed, doing it twice says so, and something has to be named."""
    await desk.door.team("drawing")
    assert desk.json("pause", "--team", "drawing")["changed"] is True
    assert "was paused already" in desk.run("pause", "--team", "drawing").stdout
    assert [each["scope"] for each in desk.json("upstream", "status")["pauses"]] == ["team"]
    assert "goes on" in desk.run("resume", "--team", "drawing").stdout
    assert "give one of" in desk.refused("pause")


async def test_the_account_and_the_prices(desk: Desk) -> None:
    """The account is topped up once by a reference and resumed, and a picture is priced."""
    desk.json("upstream", "topup", "12.5", "--reference", "invoice")
    assert "already" in desk.refused("upstream", "topup", "12.5", "--reference", "invoice")
    assert "goes on" in desk.run("upstream", "resume").stdout
    priced = desk.json("models", "price", "flux-2-max", "0.5 MP", "1.25")["prices"]
    assert [line["credits"] for line in priced if line["resolution"] == "0.5 MP"] == [1.25]
    assert "operator" in desk.run("models", "list").stdout


FILE = """
[[teams]]
name = "drawing"
rpm = 60
maxQueueS = 600
policy = { models = ["flux-2-max", "flux-2-flex"], maxResolution = "1 MP" }
cache = { ttlS = 86400, pool = true }
budgets = [{ window = "month", limit = 500.5, soft = 400 }, { window = "day", limit = 50 }]
keys = [{ name = "test", rpm = 5, budgets = [{ window = "total", limit = 10 }] }]

[[teams]]
name = "painting"
concurrency = 2
cache = { unseeded = true }
budgets = [{ window = "total", limit = 1 }]
"""


async def test_a_file_is_applied(desk: Desk) -> None:
    """A file is made so, a second run changes nothing, a check only tells, and what is not named stays as it is."""
    await desk.door.key(await desk.door.team("drawing"))
    file = desk.folder / "teams.toml"
    file.write_text(FILE)
    told = desk.json("apply", "-f", str(file), "--check")
    assert told["checked"] is True
    assert [team["rpm"] for team in await desk.door.rows(tables.teams)] == [300]
    done = desk.json("apply", "-f", str(file))
    assert [change["deed"] for change in done["changes"]] == [change["deed"] for change in told["changes"]]
    assert [change["deed"] for change in done["changes"]] == [
        "team.update",
        "budget.put",
        "budget.put",
        "key.update",
        "budget.put",
        "team.create",
    ]
    assert "everything is as the file has it" in desk.run("apply", "-f", str(file)).stdout
    file.write_text(json.dumps({"teams": [{"name": "drawing", "budgets": [{"window": "day", "limit": 51}]}]}))
    file = file.rename(desk.folder / "teams.json")
    said = desk.run("apply", "-f", str(file)).stdout
    assert said == (
        "set the budget (day) of team drawing to 51 credits\ntake the budget (month) of team drawing away\n"
    )
    team = desk.json("team", "show", "drawing")
    assert (team["rpm"], team["maxQueueS"], team["policy"]["maxResolution"]) == (60, 600, "1 MP")
    assert team["cache"] == {"ttlS": 86400, "unseeded": False, "pool": True}
    assert desk.json("team", "show", "painting")["cache"] == {"ttlS": None, "unseeded": True, "pool": False}
    file.write_text(json.dumps({"teams": [{"name": "drawing", "cache": {"ttlS": None, "pool": True}}]}))
    assert desk.run("apply", "-f", str(file)).stdout == 'set cache to {"ttlS":null} of team drawing\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("teams = 1", "$.teams"),
        ("[[teams]]", "name"),
        ('[[teams]]\nname = "x"\nrmp = 1', "rmp"),
        ("teams = [", "end of document"),
        ('[[teams]]\nname = "x"\nkeys = [{ name = "k" }]', "torii key create"),
        ('[[teams]]\nname = "X"', "lower-case"),
    ],
)
async def test_a_wrong_file_is_refused(desk: Desk, text: str, said: str) -> None:
    """What is wrong in a file is named on one line, and nothing is made."""
    file = desk.folder / "teams.toml"
    file.write_text(text)
    assert said in desk.refused("apply", "-f", str(file))
    assert await desk.door.rows(tables.teams) == []


async def test_a_token_is_needed_and_not_guessed(desk: Desk) -> None:
    """With --url nothing is asked without a token, a wrong one is refused, and a file may hold it."""
    words = ("team", "list", "--url", desk.door.base_url)
    desk = Desk(desk.folder, desk.door, {}, remote=False)
    nothing = desk.run(*words)
    assert (nothing.returncode, "TORII_ADMIN_TOKEN" in nothing.stderr) == (2, True)
    wrong = desk.run(*words, TORII_ADMIN_TOKEN="x" * 40)
    assert (wrong.returncode, "invalid_api_key" in desk.run(*words, "--json", TORII_ADMIN_TOKEN="x").stderr) == (
        1,
        True,
    )
    token = desk.folder / "token"
    token.write_text(f"{ADMIN_TOKEN}\n")
    assert desk.run(*words, "--token-file", str(token)).returncode == 0
    away = desk.run("team", "list", "--url", f"http://127.0.0.1:{ports.free_one()}", TORII_ADMIN_TOKEN=ADMIN_TOKEN)
    assert (away.returncode, away.stderr.count("\n"), "cannot be reached" in away.stderr) == (1, 1, True)
