"""Metrics and logs: their names, their labels, and what they may never contain."""
