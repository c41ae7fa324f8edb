"""Errors that a user can mend: shown as their message alone, without a traceback."""


class UserError(Exception):
    """Something that the user gave is wrong. The command line prints the message and exits with 2."""
