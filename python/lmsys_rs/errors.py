"""Which errors lmsys_rs raises, and when a caller should act differently on them.

A class exists only where a caller does something else about it; file errors are the built-in ones by kind
(``FileNotFoundError``, ``PermissionError``, ...), Ctrl-C is ``KeyboardInterrupt``. Nothing here knows a front end.

    LmsysError
    ├── InvalidInputError (ValueError)                an argument or an array cannot be used: fix the call
    ├── NotFittedError (ValueError, AttributeError)   call fit() first
    ├── ModelError                                    a model is missing, damaged or of an unknown kind
    ├── StoreError                                    the workspace cannot be opened, read or written
    ├── ReaderError (file, line)                      a conversation file cannot be read
    └── ProviderError                                 an LLM provider refused or failed
        ├── RateLimited (retry_after)
        ├── Unauthorized
        └── BudgetExceeded
"""

from __future__ import annotations

__all__ = [
    "BudgetExceeded",
    "InvalidInputError",
    "LmsysError",
    "ModelError",
    "NotFittedError",
    "ProviderError",
    "RateLimited",
    "ReaderError",
    "StoreError",
    "Unauthorized",
]


class LmsysError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: what happened, what was got, what was needed.
        hint: one action that helps, if there is one; shown on its own line.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")
        self.hint = hint


class InvalidInputError(LmsysError, ValueError):
    """An argument or an array cannot be used as it is."""


class NotFittedError(LmsysError, ValueError, AttributeError):
    """A learned attribute was read before ``fit``."""


class ModelError(LmsysError):
    """A model is missing, damaged (wrong sha256) or of a kind that is not supported."""


class StoreError(LmsysError):
    """The workspace cannot be opened, read or written."""


class ReaderError(LmsysError):
    """A conversation file cannot be read.

    Attributes:
        file: the path as given.
        line: 1-based line (or element) number, or None when the file as a whole is meant.
    """

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line


class ProviderError(LmsysError):
    """An LLM provider refused or failed."""


class RateLimited(ProviderError):
    """The provider asks to wait; ``retry_after`` is in seconds, None if it did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Unauthorized(ProviderError):
    """The key is missing or was refused."""


class BudgetExceeded(ProviderError):
    """The next call would go over the budget that was set."""
