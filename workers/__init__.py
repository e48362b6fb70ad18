"""The back door: arq tasks, heartbeat and sweep. Starts the steps of the house, decides nothing."""
