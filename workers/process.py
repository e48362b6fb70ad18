"""One worker process, from its first beat to its last: what ``torii work`` runs. Holds the parts together.

On SIGTERM it takes nothing new, lets the steps under way end (a paid POST takes at most 20 s), and leaves the list of
workers, so that nobody has to find out that it is gone.
"""

import asyncio
import contextlib
import signal
from importlib import metadata

import stamina
import structlog

from gateway import bootstrap, errors
from gateway.bootstrap import House
from gateway.jobs import liveness
from gateway.jobs.parts import Shop
from gateway.settings.values import Settings
from workers import probe, rounds
from workers.consumer import Consumer
from workers.rounds import Pulse
from workers.tasks import Bench

#: From the signal on: a step may outlast arq's own wait by its last statements, and the rest ends within 30 s.
LAST_STEPS_S = 28.0

log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT. Raises ``SettingError`` when it cannot begin."""
    async with bootstrap.house(settings) as house, bootstrap.shop(house) as shop:
        await work(house, shop)


async def work(house: House, shop: Shop) -> None:
    """Work with parts that are made already, until SIGTERM or SIGINT."""
    release = metadata.version("torii")
    pulse = Pulse(shop.clock.monotonic())
    bench = Bench(shop)
    consumer = Consumer(bench, house.settings.reveal("redis_url"))
    page = probe.server(probe.application(house, shop, pulse), house.settings.host, house.settings.worker_metrics_port)
    _on_signals(consumer, page)
    async for attempt in stamina.retry_context(on=errors.StoreUnavailable, attempts=None, timeout=60.0):
        with attempt:
            await liveness.register(shop.database, shop.worker_id, release, shop.clock)
    log.info("worker_ready", worker_id=shop.worker_id)
    background = [
        asyncio.create_task(rounds.heartbeat(shop, release, pulse)),
        asyncio.create_task(rounds.sweeps(shop)),
    ]
    serving = asyncio.create_task(_serve(page, house.settings.worker_metrics_port))
    try:
        await _until_stopped(consumer, serving)
        now_s = asyncio.get_running_loop().time()
        await bench.settle(LAST_STEPS_S - (now_s - (consumer.told_s or now_s)))
    finally:
        for task in background:
            task.cancel()
        page.should_exit = True
        await asyncio.gather(*background, serving, return_exceptions=True)
    with contextlib.suppress(errors.StoreUnavailable):
        async with shop.database.write() as tx:
            await liveness.strike_off(tx, shop.worker_id)
    log.info("worker_gone", worker_id=shop.worker_id)


async def _until_stopped(consumer: Consumer, serving: asyncio.Task[None]) -> None:
    """Consume until told to stop; a probe page that cannot be served stops the worker, since nobody could watch it."""
    consuming = asyncio.create_task(consumer.run())
    await asyncio.wait({consuming, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not consuming.done() and serving.exception() is not None:
        consumer.stop()
        await consuming
        serving.result()
    await consuming


async def _serve(page: probe.Server, port: int) -> None:
    try:
        await page.serve()
    except SystemExit:
        # What uvicorn does when the port is taken.
        raise errors.SettingError(
            f"TORII_WORKER_METRICS_PORT: port {port} cannot be used; is another worker running?",
            param="TORII_WORKER_METRICS_PORT",
        ) from None


def _on_signals(consumer: Consumer, page: probe.Server) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        log.info("stopping")
        consumer.stop()
        page.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
