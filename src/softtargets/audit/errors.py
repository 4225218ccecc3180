"""The one error of the audit that a user is meant to read."""


class AuditError(Exception):
    """A file or an option is wrong; the message says what, where, and the way out."""
