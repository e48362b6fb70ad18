"""The published measurements, each one command: ``python -m bench``."""
