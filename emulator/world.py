"""Everything one emulator is: options, catalogue, switches, account and counters, and how it begins anew."""

from emulator import account, board, catalogue, clock, limiter, money, options, tally


class World:
    """Handed to every handler; there is nothing else to share. `now` gives Unix seconds."""

    def __init__(self, chosen: options.Options, now: clock.Clock = clock.now) -> None:
        self.options = chosen
        self.now = now
        self.models = catalogue.load()
        self.board = board.Board(chosen.time_scale)
        self.reset(money.micro(chosen.balance))

    def reset(self, balance_micro: int) -> None:
        """Forget jobs, files, books and switches."""
        self.board.reset()
        self.account = account.Account(balance_micro, self.options.kept_jobs, self.now)
        self.tally = tally.Tally()
        self.limiter = limiter.Limiter()
