"""Teams and their keys."""
