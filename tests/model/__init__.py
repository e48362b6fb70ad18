"""Small models of the house, told apart from its code: its money (``ledger``) and the life of a job (``life``)."""
