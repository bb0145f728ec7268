"""What is counted of webhooks, for `/metrics`; of all together, since each has its own log."""

from prometheus_client import Counter, Gauge

_OUTCOMES = ("delivered", "failed", "given_up")

ATTEMPTS = Counter(
    "ostiary_webhook_attempts", "Attempts to send: delivered, failed or given_up.", ("outcome",)
)
UNDER_WAY = Gauge("ostiary_webhook_attempts_in_progress", "Attempts that wait for an answer.")

for _outcome in _OUTCOMES:
    ATTEMPTS.labels(_outcome)
