"""The loop that workers run on."""

from tests.flows.conftest import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
