"""The one error that the installer's self-test knows."""


class EdgeError(Exception):
    """One sentence."""
