"""Benchmarks: each prints what it measured; `docs/performance.md` says how to read it."""
