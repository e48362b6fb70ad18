"""A real S3 server on loopback: Ceph's RADOS gateway over one monitor and one store kept in memory.

Real means that a wrong signature is refused and that of two create-only puts one wins; stand-ins get both wrong.
Everything runs in the foreground as a child of the test run, in one temporary folder, and ends with it.
"""

import base64
import http.client
import os
import secrets
import shutil
import struct
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import ports
from tests.support.process import Process
from tests.support.report import UnavailableError
from tests.support.s3_bucket import Bucket

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
ENTITIES = ("mon.", "client.admin", "client.rgw", "osd.0")
REGION = "us-east-1"
STORE_BYTES = 2 * 1024**3
#: How often a bucket is asked for, and how long a crashing process may take to be gone (seconds).
TRIES, CRASH_S = 3, 2.0

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0,v1:127.0.0.1:{mon_port_v1}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = {folder}/keyring
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
run dir = {folder}
crash dir = {folder}
admin socket =
pid file =
log to file = false
log to stderr = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail crit = 1
# a monitor gathers changes for a second before it writes them; alone, it need not, and starts in one second, not twenty
paxos propose interval = 0.05
paxos min wait = 0.01
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {store_bytes}
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw run sync thread = false
{options}
"""


class RadosGateway:
    """An S3 server. `stop` and `start` take the gateway away and bring it back; what it stored stays until `remove`."""

    def __init__(self, options: dict[str, str] | None = None) -> None:
        missing = [program for program in PROGRAMS if shutil.which(program) is None]
        if missing:
            raise UnavailableError(f"{', '.join(missing)} not installed: run tests/support/install-servers as root")
        self.port, mon_port, mon_port_v1 = ports.free(3)
        self.access_key_id = "torii" + secrets.token_hex(8)
        self.secret_access_key = secrets.token_urlsafe(30)
        self.folder = Path(tempfile.mkdtemp(prefix="torii-s3-"))
        for part in ("mon", "osd", "rgw"):
            (self.folder / part).mkdir()
        self._fsid = str(uuid.uuid4())
        self._mon_address = f"[v2:127.0.0.1:{mon_port},v1:127.0.0.1:{mon_port_v1}]"
        configuration = CONFIGURATION.format(
            fsid=self._fsid,
            folder=self.folder,
            port=self.port,
            mon_port=mon_port,
            mon_port_v1=mon_port_v1,
            store_bytes=STORE_BYTES,
            options="\n".join(f"{name} = {value}" for name, value in (options or {}).items()),
        )
        (self.folder / "ceph.conf").write_text(configuration)
        self._monitor = self._daemon("ceph-mon", "-i", "a")
        self._store = self._daemon("ceph-osd", "-i", "0")
        self.process = self._daemon("radosgw", "-n", "client.rgw")
        #: Connections that ended while a bucket was asked for, which no test had asked the gateway to do.
        self.breaks: list[str] = []

    def _daemon(self, program: str, *words: str) -> Process:
        environment = {"CEPH_CONF": str(self.folder / "ceph.conf")}
        return Process([program, "-f", *words], folder=self.folder, environment=environment)

    @property
    def endpoint_url(self) -> str:
        """The address for `AWS_ENDPOINT_URL`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        """What the server's program says it is."""
        return f"ceph radosgw {self._run('radosgw', '--version').split()[2]}"

    def start(self) -> Self:
        """Start the gateway, with what stands behind it the first time, and wait until it answers."""
        first = not self._store.running
        if first:
            self._start_store()
        self.process.start()
        self.process.wait_ready(f"{self.endpoint_url}/", timeout_s=60)
        if first:
            keys = ("--access-key", self.access_key_id, "--secret-key", self.secret_access_key)
            self._run("radosgw-admin", "user", "create", "--uid", "torii", "--display-name", "Torii", *keys)
        return self

    def _start_store(self) -> None:
        keyring, monmap = str(self.folder / "keyring"), str(self.folder / "monmap")
        Path(keyring).write_text("".join(_keyring_entry(entity) for entity in ENTITIES))
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", self._mon_address, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._monitor.start()
        store_id = str(uuid.uuid4())
        self._run("ceph", "osd", "new", store_id)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store_id)
        self._store.start()

    def stop(self) -> None:
        """Take the gateway away: its port refuses connections."""
        self.process.end()

    def pause(self) -> None:
        """Freeze the gateway: connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Let a frozen gateway go on."""
        self.process.resume()

    def ensure(self) -> None:
        """Make the gateway running and awake, whatever the last test did to it."""
        if not self.process.running:
            self.start()
        self.resume()

    def create(self) -> Bucket:
        """Make an empty bucket and return all that a client needs to use it.

        A gateway that crashes or hangs up while it is asked is started again and asked again, and the run's account of
        its servers says so. Making a bucket that its owner has already is answered as a new one is.
        """
        bucket = Bucket(
            endpoint_url=self.endpoint_url,
            region=REGION,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            bucket=f"t-{uuid.uuid4().hex[:16]}",
        )
        for _ in range(TRIES):
            try:
                bucket.create()
            except (ConnectionError, http.client.HTTPException) as broken:
                self._note(broken)
                self.ensure()
            else:
                return bucket
        raise AssertionError(f"the S3 server makes no bucket: {self.breaks}\n{self.process.output()[-4000:]}")

    def _note(self, broken: Exception) -> None:
        """Keep what happened: a connection that broke, and whether the process ended with it."""
        try:
            ended = f"it ended with {self.process.wait_end(CRASH_S)}"
        except AssertionError:
            ended = "it runs on"
        self.breaks.append(f"{type(broken).__name__}, {ended}")

    def remove(self) -> None:
        """End all of the server's processes and delete its folder."""
        for process in (self.process, self._store, self._monitor):
            process.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.process.environment, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode != 0:
            raise AssertionError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()


def _keyring_entry(entity: str) -> str:
    """Return one entity of a Ceph keyring: a fresh 16-byte key behind its type, time and length, and all rights."""
    key = struct.pack("<HIIH", 1, int(time.time()), 0, 16) + os.urandom(16)
    rights = "".join(f'caps {part} = "allow *"\n' for part in ("mon", "osd", "mgr"))
    return f"[{entity}]\nkey = {base64.b64encode(key).decode()}\n{rights}"
