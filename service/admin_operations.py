"""All deeds of the admin surface: the one list behind its routes and its part of the OpenAPI document."""

from typing import Final

from service import (
    admin_books,
    admin_budgets,
    admin_cache,
    admin_drift,
    admin_jobs,
    admin_keys,
    admin_retention,
    admin_teams,
    admin_upstream,
    admin_webhooks,
)

DEEDS: Final = (
    *admin_teams.DEEDS,
    *admin_keys.DEEDS,
    *admin_budgets.DEEDS,
    *admin_jobs.DEEDS,
    *admin_books.DEEDS,
    *admin_upstream.DEEDS,
    *admin_webhooks.DEEDS,
    *admin_cache.DEEDS,
    *admin_drift.DEEDS,
    *admin_retention.DEEDS,
)

OPERATIONS: Final = tuple(deed.operation for deed in DEEDS)
