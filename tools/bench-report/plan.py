"""What a run measures, and for how long."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Scenario:
    """Writers that append for longer: the one the public comparisons of event stores use."""

    producers: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What a run measures. Peers take turns in every round, so that what else happens on the machine hits all."""

    name: str
    rounds: int
    seconds: float
    producers: tuple[int, ...]
    payload_bytes: int
    batch_events: int
    batches_in_flight: int
    scenario: Scenario | None
    benches: bool

    def as_json(self) -> dict:
        """For the figures that are kept."""
        return asdict(self)


FULL = Plan(
    name="full",
    rounds=3,
    seconds=5,
    producers=(1, 4, 16, 64),
    payload_bytes=256,
    batch_events=1_000,
    batches_in_flight=2,
    scenario=Scenario(producers=16, seconds=60),
    benches=True,
)
QUICK = Plan(
    name="quick",
    rounds=1,
    seconds=1,
    producers=(1, 16, 64),
    payload_bytes=256,
    batch_events=1_000,
    batches_in_flight=2,
    scenario=None,
    benches=False,
)
