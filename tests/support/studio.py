"""A gateway whose steps a test takes, that sells a model which starts from pictures, and the door where those lie."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gateway.jobs import accept, draft, uploads
from gateway.jobs.draft import Accepted, Caller
from gateway.jobs.uploads import Upload
from gateway.reuse.directives import Directives
from gateway.storage import upload_tables
from gateway.tenancy import keys, scopes, teams
from tests.support import crowd, editing, ports
from tests.support import rig as rigs
from tests.support.editing import MODEL, picture
from tests.support.emulator import EmulatorProcess
from tests.support.rig import Rig

#: Reads the cache and shares flights, as orders over HTTP do.
SHARING: Final = replace(draft.ANEW, directives=Directives())


@dataclass(frozen=True)
class Studio:
    """A gateway whose steps the test takes, and the door at which the upstream fetches uploads."""

    rig: Rig
    emulator: EmulatorProcess

    async def bring(self, data: bytes = b"", caller: Caller | None = None) -> Upload:
        """Bring a picture."""
        return (await self.rig.house.intake.take(caller or self.rig.caller, data or picture(), "file")).upload

    async def order(self, *images: str, caller: Caller | None = None, **more: object) -> Accepted:
        """Order something made from those pictures."""
        body = {"prompt": "the same in snow", "images": list(images), **more}
        return await accept.accept(self.rig.house.counter, caller or self.rig.caller, MODEL, body, wish=SHARING)

    async def other(self, name: str = "others") -> Caller:
        """Another team's key."""
        now = self.rig.house.clock.now()
        async with self.rig.house.database.write() as tx:
            team = await teams.create(tx, name, now)
            key, _ = await keys.create(tx, team.id, "test", scopes.DEFAULT, self.rig.house.keys.api_keys, now)
        return Caller(team.id, key.id)

    async def change(self, upload: Upload, **values: object) -> None:
        """Let an upload's row be other than it is."""
        table = upload_tables.uploads
        async with self.rig.house.database.write() as tx:
            await tx.execute(table.update().where(table.c.id == upload.id).values(**values))

    async def delete(self, upload: Upload) -> None:
        """Delete it as its team would."""
        async with self.rig.house.database.write() as tx:
            await uploads.delete(tx, "key of the test", upload, self.rig.house.clock.now())

    async def there(self) -> set[str]:
        """The uploads that there are."""
        return {row.id for row in await crowd.rows(self.rig, upload_tables.uploads)}

    def sent(self) -> list[dict[str, Any]]:
        """What the upstream has taken, in order."""
        jobs: list[dict[str, Any]] = self.emulator.books()["jobs"]
        return jobs

    def objects(self) -> list[Path]:
        """What lies in the archive of uploads."""
        folder = Path(self.rig.house.settings.archive_url) / "uploads"
        return [path for path in folder.rglob("*") if path.is_file()]


def environment(emulator: EmulatorProcess, database_url: str, redis_url: str, folder: Path) -> dict[str, str]:
    """A gateway with a model that starts from pictures, that may call loopback."""
    more = {"TORII_CATALOGUE": editing.catalogue(folder), "TORII_WEBHOOK_ALLOW_NETS": "127.0.0.0/8"}
    return rigs.environment(emulator, database_url, redis_url, folder, TORII_PORT=str(ports.free_one()), **more)
