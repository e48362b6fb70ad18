"""Whether a checked order may come in: the team's policy and its moderation, and the pace of what is made anew.

Runs before anything is held; what it refuses has created nothing. A refusal by policy or moderation, and what a
moderation allowed, goes into the audit log, without the prompt. What was made before, or is being made, passes the
policy and the moderation, and is no new generation: the pace is asked apart, by who would begin one.
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
    #: For the audit log, in the order's own transaction.
    decision: Mapping[str, Any] | None = None


class Admit(Protocol):
    """How an order is looked at before it is accepted."""

    async def look(self, model: Model, parameters: Parameters) -> Admitted:
        """Let it through as the policy leaves it, or raise."""

    async def pace(self) -> Standing | None:
        """Count a new generation; ``RateLimited`` when there were too many."""

    async def give_back(self) -> None:
        """Count it back: it came to no generation."""


class Anyone:
    """The house's own hands are held to no limit but the budget and the length of the queue."""

    async def look(self, model: Model, parameters: Parameters) -> Admitted:
        """Let everything through."""
        del model
        return Admitted(parameters)

    async def pace(self) -> Standing | None:
        """Count nothing."""
        return None

    async def give_back(self) -> None:
        """Count nothing back."""


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
        return _Asker(self, asker)


@dataclass(frozen=True)
class _Asker:
    """One caller at the gate."""

    gate: Gate
    asker: recognition.Caller

    async def look(self, model: Model, parameters: Parameters) -> Admitted:
        """Raises ``ModelNotAllowed``, ``PolicyRefused``, ``RateLimited`` or ``Unavailable``."""
        rules = self.gate.policies.of(self.asker.team)
        try:
            held = policy.apply(rules, model, parameters)
        except errors.NotAllowed as refusal:
            await self._refuse({"by": "policy", "model": model.api_id, "param": refusal.param})
            raise
        endpoint = rules.moderation
        if endpoint is None:
            return Admitted(held)
        decision = await self._ask(endpoint, model, held)
        noted = {"by": "moderation", **moderation.note(decision, model.api_id)}
        if not decision.allowed:
            await self._refuse(noted)
        moderation.require(decision)
        return Admitted(held, noted)

    async def pace(self) -> Standing | None:
        """As the protocol says."""
        standing = await self.gate.rate.take(self.asker)
        rate.require(standing)
        return standing

    async def give_back(self) -> None:
        """As the protocol says."""
        await self.gate.rate.give_back(self.asker)

    async def _ask(self, endpoint: Moderation, model: Model, parameters: Parameters) -> Decision:
        answer = await self.gate.outbound.post(
            endpoint.url,
            moderation.question(model.api_id, parameters, self.asker.team.id),
            dict(moderation.HEADERS),
            timeout_s=endpoint.timeout_s,
            limit_bytes=moderation.ANSWER_BYTES_MAX,
        )
        if isinstance(answer, Answer):
            return moderation.decide(endpoint, answer.status, answer.body)
        return moderation.unanswered(endpoint, answer.value)

    async def _refuse(self, why: Mapping[str, Any]) -> None:
        """Note a refusal. It counts as a generation, or anybody could fill the log without limit."""
        await self.pace()
        async with self.gate.database.write() as tx:
            await audit.note(
                tx,
                actor=f"key {self.asker.key.id}",
                action="order.refused",
                subject=self.asker.key.id,
                at=self.gate.clock.now(),
                team_id=self.asker.team.id,
                after=why,
            )
