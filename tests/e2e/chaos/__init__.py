"""Chaos: a whole gateway in real processes, orders, and a fault in every round; at the end all books are compared."""
