"""Every credit that moves, as an append-only entry and the balance it makes."""
