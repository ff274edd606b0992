from schemas.errors import OperatorError


class StartError(OperatorError):
    """What keeps a server of this machine from starting."""
