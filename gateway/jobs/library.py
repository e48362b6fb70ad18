"""What a process of the front door reuses with: the shelf, the fingerprints' key, and the archive to look into."""

from dataclasses import dataclass

from gateway.archive.bucket import Bucket
from gateway.jobs.errands import Errands
from gateway.jobs.purse import Purse
from gateway.jobs.scouts import Scouts
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
