"""What a process of the front door reuses with: shelf, fingerprints' key, the archive to look into, ended jobs."""

from dataclasses import dataclass

from gateway.archive.bucket import Bucket
from gateway.jobs.errands import Errands
from gateway.jobs.familiar import Familiar
from gateway.jobs.purse import Purse
from gateway.jobs.scouts import Scouts
from gateway.jobs.snapshots import Snapshots
from gateway.reuse.fingerprint import Key
from gateway.reuse.shelf import Shelf


@dataclass(frozen=True)
class Library:
    """Handed in by ``bootstrap``; one a process, whose errands are closed with it."""

    shelf: Shelf
    prints: Key
    bucket: Bucket
    purse: Purse
    scouts: Scouts
    errands: Errands
    snapshots: Snapshots
    familiar: Familiar

    async def close(self) -> None:
        """End its errands, and give up its connections."""
        await self.errands.close()
        await self.shelf.close()
        await self.snapshots.close()
