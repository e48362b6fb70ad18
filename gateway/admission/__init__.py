"""Whether a request may come in now: limits, policy and the pace of the upstream account."""
