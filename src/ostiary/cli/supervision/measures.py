"""What the supervisor counts of its parts, for `/metrics`."""

from prometheus_client import Counter, Gauge

RESTARTS = Counter(
    "ostiary_part_restarts",
    "Times that a part was started again after it had died or hung.",
    ("part",),
)
HANGS = Counter(
    "ostiary_part_hangs", "Times that a part or one of its workers hung and was killed.", ("part",)
)
READY = Gauge("ostiary_part_ready", "1 while a part runs and has said that it is ready.", ("part",))
