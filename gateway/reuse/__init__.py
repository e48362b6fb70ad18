"""Never paying twice for one picture: fingerprints, cache and coalesced flights."""
