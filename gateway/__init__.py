"""The house: what is true whichever door a request came in by. Never speaks HTTP to callers, never runs a queue."""
