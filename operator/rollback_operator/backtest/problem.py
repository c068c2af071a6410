"""What keeps a backtest from being made."""

from __future__ import annotations


class Problem(Exception):  # noqa: N818 - named as what it tells
    """One line for the person at the terminal: what is wrong, and what to write instead."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
