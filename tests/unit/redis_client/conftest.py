"""Servers in numbers, started once for a module that asks for them."""

from tests.unit.sessions.conftest import cluster, fleet, sentinels

__all__ = ["cluster", "fleet", "sentinels"]
