"""The one error of the laboratory that a user is meant to read."""


class LabError(Exception):
    """Something outside the program is wrong; the message says what, and the way out."""
