"""The real servers that tests talk to."""
