"""What routes find on the app."""

from fastapi import Request

from service.store import Store


def store(request: Request) -> Store:
    """The app's database."""
    return request.app.state.store
