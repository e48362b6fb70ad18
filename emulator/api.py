"""What PixelDojo does at `/api/v1` (pixeldojo.md 1.1 to 1.7). Faults, counting and transport are not its business."""

from collections.abc import Callable

from emulator import account, answers, catalogue, job, order, references, switches, webhook, wire
from emulator.world import World

LIST_LIMIT = 200
OUT_OF_CREDITS = "insufficient_credits"


class Api:
    """The operations; each takes the exchange and what its path names, and returns the answer."""

    def __init__(self, world: World, courier: webhook.Courier, fetcher: references.Fetcher) -> None:
        self._world = world
        self._courier = courier
        self._fetcher = fetcher

    async def submit(self, exchange: wire.Exchange, api_id: str) -> wire.Response:
        """`POST /models/{apiId}/run`: check, debit, create."""
        refusal = self._refuse_key(exchange)
        model = self._models.get(api_id)
        if refusal is not None or model is None:
            return refusal or self._no_model(api_id)
        body = await exchange.body()
        if body is None:
            return self._error(413, "request_too_large", "the body is larger than 1 MiB")
        try:
            wanted = order.read(model, body, webhooks=self._now.webhooks != "off")
            if self._now.fetch_references:
                wanted = await self._fetcher.fetch(wanted)
        except (order.Invalid, references.Unfetched) as invalid:
            return self._error(400, "invalid_request", str(invalid))
        if model.modality != "image":
            return self._error(400, "invalid_request", f"the emulator makes no {model.modality}")
        try:
            created = self._world.account.submit(wanted, self._fate(wanted))
        except account.OutOfCredits:
            message = "Insufficient credits: top up your account to continue"
            return self._error(self._now.out_of_credits_status, OUT_OF_CREDITS, message)
        base = self._base(exchange)
        self._courier.expect(created, lambda: self.shown(created, base))
        if self._now.webhook_early and created.order.webhook_url is not None:
            await self._courier.call(created, lambda: self.shown(created, base))
        return answers.accepted(created, self._now, base, self._world.account.balance_micro)

    async def poll(self, exchange: wire.Exchange, job_id: str) -> wire.Response:
        """`GET /jobs/{jobId}`: 200 in any state."""
        refusal = self._refuse_key(exchange)
        found = self._world.account.find(job_id)
        at = self._world.now()
        if refusal is not None or found is None or job.lost(found, at):
            return refusal or self._no_job()
        found.polls += 1
        if found.seen_at is None and job.terminal(found, at):
            found.seen_at = at
        return wire.json_response(200, self.shown(found, self._base(exchange)))

    async def jobs(self, exchange: wire.Exchange, _: str) -> wire.Response:
        """`GET /jobs`: newest first, `limit`, `cursor`; the shape is assumed."""
        refusal = self._refuse_key(exchange)
        if refusal is not None or not self._now.job_list:
            return refusal or self._error(404, "not_found", "Not found")
        query = exchange.query()
        limit = query.get("limit", str(self._now.job_list_page))
        if not limit.isdecimal() or not 1 <= int(limit) <= LIST_LIMIT:
            return self._error(400, "invalid_request", f"limit must be 1 to {LIST_LIMIT}")
        return wire.json_response(200, self._page(int(limit), query.get("cursor"), query.get("page")))

    async def replay(self, exchange: wire.Exchange, job_id: str) -> wire.Response:
        """`POST /jobs/{jobId}/webhook/replay`: path and answer are assumed (pixeldojo.md 1.7)."""
        refusal = self._refuse_key(exchange)
        found = self._world.account.find(job_id)
        if refusal is not None or found is None:
            return refusal or self._no_job()
        if found.order.webhook_url is None:
            return self._error(400, "invalid_request", "the job has no webhook_url")
        if not job.terminal(found, self._world.now()):
            return self._error(409, "job_not_finished", "the job has not ended")
        base = self._base(exchange)
        self._courier.send(found, lambda: self.shown(found, base))
        return wire.json_response(202, {"jobId": found.id, "replayed": True})

    async def models(self, exchange: wire.Exchange, _: str) -> wire.Response:
        """`GET /models`: public; `modality=image`, `detailed=true`."""
        query = exchange.query()
        modality = query.get("modality")
        found = [model for model in self._models.values() if modality in (None, model.modality)]
        describe = answers.model_detail if query.get("detailed") == "true" else answers.model
        body = {
            "models": [describe(model, self._now.prices) for model in found],
            "total": len(found),
            "imageCount": sum(model.modality == "image" for model in found),
            "videoCount": sum(model.modality == "video" for model in found),
        }
        return wire.json_response(200, body)

    async def model(self, _: wire.Exchange, api_id: str) -> wire.Response:
        """`GET /models/{apiId}`: public."""
        return self._of_model(api_id, lambda model: answers.model_detail(model, self._now.prices))

    async def schema(self, _: wire.Exchange, api_id: str) -> wire.Response:
        """`GET /models/{apiId}/schema`: public."""
        return self._of_model(api_id, lambda model: {"apiId": model.apiId, "schema": catalogue.request_schema(model)})

    def shown(self, found: job.Job, base: str) -> dict[str, object]:
        """Show a job as it is now; settles first, so that a refund shows."""
        self._world.account.settle()
        return answers.shown(found, self._now, base, self._world.now())

    @property
    def _now(self) -> switches.Switches:
        return self._world.board.now

    @property
    def _models(self) -> dict[str, catalogue.Model]:
        return catalogue.changed(self._world.models, self._now.models)

    def _base(self, exchange: wire.Exchange) -> str:
        return self._world.options.public_base or exchange.host_base()

    def _error(self, status: int, code: str, message: str) -> wire.Response:
        return answers.error(self._now, status, code, message)

    def _refuse_key(self, exchange: wire.Exchange) -> wire.Response | None:
        scheme, _, key = (exchange.header("authorization") or "").partition(" ")
        expected = self._world.options.key
        good = scheme.lower() == "bearer" and key.strip() and expected in (None, key.strip())
        if good and not self._now.key_refused:
            return None
        return self._error(401, "invalid_api_key", "Invalid or missing API key")

    def _no_job(self) -> wire.Response:
        return self._error(404, "job_not_found", "Job not found")

    def _no_model(self, api_id: str) -> wire.Response:
        return self._error(404, "model_not_found", f"Model not found: {api_id[:100]}")

    def _of_model(self, api_id: str, show: Callable[[catalogue.Model], object]) -> wire.Response:
        model = self._models.get(api_id)
        return self._no_model(api_id) if model is None else wire.json_response(200, show(model))

    def _fate(self, wanted: order.Order) -> account.Fate:
        now = self._now
        spread = now.duration_s
        if not isinstance(spread, switches.Spread):
            spread = switches.Spread(spread, spread)
        prompt = str(wanted.settled.get("prompt", ""))
        cost_micro = wanted.model.cost(
            wanted.settled.get("resolution"), wanted.settled.get("num_outputs", 1), now.prices
        )
        # An outcome ordered for so many jobs must not be used up by one that cannot be paid.
        outcome = None
        if cost_micro <= self._world.account.balance_micro:
            outcome = self._world.board.outcomes.take(model=wanted.model.apiId, prompt=prompt)
        return account.Fate(
            outcome=outcome or switches.Outcome(kind="completed"),
            cost_micro=cost_micro,
            shortest_s=spread.min * now.time_scale,
            longest_s=spread.max * now.time_scale,
            result_ttl_s=now.result_ttl_s,
            refund=now.refund_on_failure,
        )

    def _page(self, limit: int, cursor: str | None, page: str | None) -> object:
        at = self._world.now()
        listed = [found for found in self._world.account.newest() if found.created_at <= at - self._now.job_list_lag_s]
        number = int(page) if page is not None and page.isdecimal() else 1
        first = (max(number, 1) - 1) * limit
        if cursor is not None:
            first = next((place for place, found in enumerate(listed, 1) if found.id == cursor), len(listed))
        shown = listed[first : first + limit]
        more = len(listed) > first + limit
        rows = [answers.row(found, self._now, at) for found in shown]
        return answers.listing(
            rows,
            self._now,
            cursor=shown[-1].id if more else None,
            page=number,
            pages=max(1, -(-len(listed) // limit)),
        )
