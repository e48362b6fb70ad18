"""The pinned catalogue beside the upstream's own list, on the admin surface. Asks without a key; spends nothing."""

from collections.abc import Mapping
from typing import Any, Final

from gateway import errors
from gateway.jobs import admin
from gateway.tenancy.authority import Authority
from gateway.upstream import comparison, listing
from service import admin_shapes
from service.admin_deeds import Ask, Deed, Office, choice, operation


async def _drift(office: Office, given: Authority, ask: Ask) -> Mapping[str, Any]:
    del given
    pinned = ask.text("pinned")
    if pinned not in (None, "true", "false"):
        raise errors.InvalidParameter("pinned: use true or false", param="pinned")
    offers = await listing.read(office.settings.pixeldojo_api_base, list(office.catalogue.models))
    async with office.database.read() as connection:
        rows = await admin.prices(connection)
    prices = {place: row.micros for place, row in rows.items() if row.micros is not None}
    found = comparison.compare(office.catalogue, prices, offers, pinned=pinned == "true")
    return {
        "models": len(office.catalogue),
        "differences": [
            {
                "kind": each.kind.value,
                "model": each.model,
                "parameter": each.parameter,
                "ours": each.ours,
                "theirs": each.theirs,
            }
            for each in found
        ],
    }


DRIFT: Final = Deed(
    operation(
        "get",
        "/models/drift",
        "CompareModels",
        "Compare the catalogue with the upstream's",
        ("What is different.", admin_shapes.DriftReport),
        description="Reads the upstream's public list, without a key and without spending anything.",
        parameters=(choice("pinned", "`true` leaves out models that are not sold here.", enum=["true", "false"]),),
        raises=(errors.Unavailable,),
    ),
    _drift,
)

DEEDS: Final = (DRIFT,)
