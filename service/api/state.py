"""What routes find on the app and in a request."""

from typing import Annotated

from fastapi import Header, Request

from service.store import Store

Short = Annotated[str | None, Header(max_length=200)]
"""A header such as Idempotency-Key or Prefer, if it is there."""


def store(request: Request) -> Store:
    """The app's database."""
    return request.app.state.store
