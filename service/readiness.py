"""Whether this process still takes requests. Changes once, when it is told to end, and never back."""


class Readiness:
    """Set by the server, read by ``/health/ready``."""

    def __init__(self) -> None:
        self._draining = False

    @property
    def draining(self) -> bool:
        """The process ends soon: whoever shares out requests should choose another."""
        return self._draining

    def drain(self) -> None:
        """Say that the process ends soon."""
        self._draining = True
