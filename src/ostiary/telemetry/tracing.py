"""OpenTelemetry traces, for operators who set an endpoint; without one the library is not loaded.

A span joins the trace that the caller's `traceparent` (W3C Trace Context) names, if it is well-formed.
Attributes are Ostiary's own names and numbers: never a path, query, header, body or an error's text.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span as _Span
    from opentelemetry.trace import Tracer

Value = str | int | bool

_tracer: "Tracer | None" = None

#: Seconds within which the endpoint must accept one batch.
SECONDS = 5


def set_up(part: str, endpoint: str) -> None:
    """Send this process's spans to an OTLP/HTTP endpoint, in the background; empty: send none."""
    global _tracer
    if not endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"ostiary-{part}"}))
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("ostiary")


def is_on() -> bool:
    """Whether spans are sent."""
    return _tracer is not None


class Span:
    """Attributes and failure of the open span; does nothing without an endpoint."""

    __slots__ = ("_span",)

    def __init__(self, span: "_Span | None") -> None:
        self._span = span

    def tell(self, **attributes: Value) -> None:
        """Add attributes; `__` in a name stands for a dot."""
        if self._span is not None:
            for name, value in attributes.items():
                self._span.set_attribute(name.replace("__", "."), value)

    def rename(self, name: str) -> None:
        if self._span is not None:
            self._span.update_name(name)

    def fail(self) -> None:
        """Mark the span as failed, without the error's text, which may contain a secret."""
        if self._span is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)


_NONE = Span(None)


def span(
    name: str, headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]]
) -> contextlib.AbstractContextManager[Span]:
    """A server's span around the block; `headers` (an ASGI scope's, or by lower-case name) name its parent."""
    return _NOTHING if _tracer is None else _begun(_tracer, name, headers)


_NOTHING = contextlib.nullcontext(_NONE)


@contextlib.contextmanager
def _begun(
    tracer: "Tracer", name: str, headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]]
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract(_context(headers))
    with tracer.start_as_current_span(
        name,
        context=parent,
        kind=SpanKind.SERVER,
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        yield Span(started)


def _context(headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The parent of a span, read from a caller's headers. `tracestate` is ignored: it is a vendor's."""
    if isinstance(headers, Mapping):
        found = headers.get("traceparent", "")
    else:
        named = [value for name, value in headers if name == b"traceparent"]
        found = named[0].decode("latin-1") if len(named) == 1 else ""
    return {"traceparent": found} if found else {}
