"""What the checks of contracts have in common; `hitfinder.testing` has the checks themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class BrokenContractError(AssertionError):
    """What is checked does not keep its contract; the text says which point of it."""


def require(condition: object, what: str) -> None:
    """Raise BrokenContractError with the text unless the condition is true."""
    if not condition:
        raise BrokenContractError(what)


@contextlib.contextmanager
def requires(what: str, *allowed: type[Exception]) -> Iterator[None]:
    """Turn exceptions that a contract does not allow into BrokenContractError.

    Parameters
    ----------
    what : str
        What is tried in the block, for the message.
    *allowed : type
        Exceptions that may come; they are passed on.
    """
    try:
        yield
    except BrokenContractError:
        raise
    except Exception as error:
        if isinstance(error, allowed):
            raise
        raise BrokenContractError(f"{what} raises {type(error).__name__}: {error}") from error
