"""The one exception that is shown to a user as a sentence, without a traceback."""


class DiffmiaError(Exception):
    """Something the user can put right: the message says what is wrong, where, and what would be right."""
