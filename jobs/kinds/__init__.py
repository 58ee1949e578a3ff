"""The registry: every kind of job, by name."""

from __future__ import annotations

from jobs.recipe import Kind

KINDS: dict[str, Kind] = {}
