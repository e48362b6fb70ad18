"""Whether a checked order may come in: the team's pace, its policy, and its moderation, in this order.

Runs before anything is held; what it refuses has created nothing. A refusal by policy or moderation, and what a
moderation allowed, goes into the audit log, without the prompt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway import errors
from gateway.admission import moderation, policy, rate
from gateway.admission.moderation import Decision
from gateway.admission.policy import Moderation, Policies
from gateway.admission.rate import GenerationRate, Standing
from gateway.clock import Clock
from gateway.images.model import Model, Parameters
from gateway.storage.database import Database
from gateway.tenancy import audit, recognition
from gateway.webhooks.outbound import Answer, Outbound


@dataclass(frozen=True)
class Admitted:
    """What came through: the parameters as the policy leaves them, and what is to be told or noted of it."""

    parameters: Parameters
    standing: Standing | None = None
    #: For the audit log, in the order's own transaction.
    decision: Mapping[str, Any] | None = None


class Admit(Protocol):
    """How an order is looked at before it is accepted."""

    async def __call__(self, model: Model, parameters: Parameters) -> Admitted:
        """Let it through or raise."""


async def anyone(model: Model, parameters: Parameters) -> Admitted:
    """The house's own hands are held to no limit but the budget and the length of the queue."""
    del model
    return Admitted(parameters)


@dataclass(frozen=True)
class Gate:
    """What one process asks of orders."""

    database: Database
    clock: Clock
    rate: GenerationRate
    policies: Policies
    outbound: Outbound

    def of(self, asker: recognition.Caller) -> Admit:
        """The look at this caller's orders."""

        async def admit(model: Model, parameters: Parameters) -> Admitted:
            return await self._admit(asker, model, parameters)

        return admit

    async def _admit(self, asker: recognition.Caller, model: Model, parameters: Parameters) -> Admitted:
        """Raises ``ModelNotAllowed``, ``PolicyRefused``, ``RateLimited`` or ``Unavailable``."""
        # The pace first: what is refused by policy is noted, and nobody may fill the log without limit.
        standing = await self.rate.take(asker)
        rate.require(standing)
        try:
            held = policy.apply(self.policies.of(asker.team), model, parameters)
        except errors.NotAllowed as refusal:
            await self._note(asker, "order.refused", {"by": "policy", "model": model.api_id, "param": refusal.param})
            raise
        endpoint = self.policies.of(asker.team).moderation
        if endpoint is None:
            return Admitted(held, standing)
        decision = await self._ask(endpoint, asker, model, held)
        noted = {"by": "moderation", **moderation.note(decision, model.api_id)}
        if not decision.allowed:
            await self._note(asker, "order.refused", noted)
        moderation.require(decision)
        return Admitted(held, standing, noted)

    async def _ask(
        self, endpoint: Moderation, asker: recognition.Caller, model: Model, parameters: Parameters
    ) -> Decision:
        answer = await self.outbound.post(
            endpoint.url,
            moderation.question(model.api_id, parameters, asker.team.id),
            dict(moderation.HEADERS),
            timeout_s=endpoint.timeout_s,
            limit_bytes=moderation.ANSWER_BYTES_MAX,
        )
        if isinstance(answer, Answer):
            return moderation.decide(endpoint, answer.status, answer.body)
        return moderation.unanswered(endpoint, answer.value)

    async def _note(self, asker: recognition.Caller, action: str, after: Mapping[str, Any]) -> None:
        async with self.database.write() as tx:
            await audit.note(
                tx,
                actor=f"key {asker.key.id}",
                action=action,
                subject=asker.key.id,
                at=self.clock.now(),
                team_id=asker.team.id,
                after=after,
            )
