"""The published measurements, each one command."""
