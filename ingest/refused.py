"""The refusal of a request, on its way to the answer."""

from schemas.rejection import Reason, Rejection


class Refused(Exception):
    """Ends a request with the answer that `rejection` says."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.error)
        self.rejection = rejection

    @classmethod
    def of(cls, reason: Reason, field: str | None = None) -> "Refused":
        """The refusal with the reason's own sentence."""
        return cls(Rejection.of(reason, field))
