"""Client of Annals, an audit log for reasoning pipelines.

    import annals

    with annals.Client() as client, client.session("refunds", input="Can order 1812 be refunded?") as session:
        with session.step("look-up-policy", kind="tool", input="order 1812") as step:
            step.output = "30 days"
        session.decide("refund", options=["refund", "refuse"], rationale="bought 12 days ago, the policy allows 30")

The client accepts events at once, and a thread sends them. `flush` and `close` wait until they are committed.
"""

from ._async_client import AsyncClient
from ._async_session import AsyncSession, AsyncStep
from ._client import Client
from ._session import Session, Step
from .errors import (
    AnnalsError,
    ApiError,
    Closed,
    EventsLost,
    EventsRefused,
    Forbidden,
    InvalidEvent,
    NoSession,
    NotDelivered,
    NotFlushed,
    NotFound,
    Problem,
    QueueFull,
    Refused,
    ServerUnavailable,
    SpoolError,
    SpoolInUse,
    Unauthorized,
)

__all__ = [
    "AnnalsError",
    "ApiError",
    "AsyncClient",
    "AsyncSession",
    "AsyncStep",
    "Client",
    "Closed",
    "EventsLost",
    "EventsRefused",
    "Forbidden",
    "InvalidEvent",
    "NoSession",
    "NotDelivered",
    "NotFlushed",
    "NotFound",
    "Problem",
    "QueueFull",
    "Refused",
    "ServerUnavailable",
    "Session",
    "SpoolError",
    "SpoolInUse",
    "Step",
    "Unauthorized",
]
