"""What the supervisor counts of its parts, for `/metrics`."""

from prometheus_client import Counter, Gauge

RESTARTS = Counter("ostiary_part_restarts", "Times that a part ended by itself.", ("part",))
READY = Gauge("ostiary_part_ready", "1 while a part runs and has said that it is ready.", ("part",))
