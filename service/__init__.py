"""The front door: the Litestar HTTP API. Translates between HTTP and the house, decides nothing."""
