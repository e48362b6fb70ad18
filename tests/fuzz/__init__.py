"""Fuzzing of the front door against its own OpenAPI document, by `make fuzz`; a short run of it is in `make test`."""
