"""Directories of every kind, opened from their configuration as the product opens them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from pydantic import TypeAdapter

from gateway.config import schema
from gateway.directory.account import Directory
from gateway.directory.api.calls import ApiTransport
from gateway.directory.factory import backend
from tests.fakes.directories import KINDS

every_kind = pytest.mark.parametrize("kind", KINDS)


def settings_of(section: dict[str, Any]) -> schema.RemoteDirectory:
    settings = TypeAdapter(schema.Directory).validate_python(section)
    assert not isinstance(settings, schema.NoDirectory)
    return settings


@dataclass
class At:
    api: Any
    directory: Directory


@asynccontextmanager
async def at(kind: str, means: dict[str, Any] | None = None, **changes: Any) -> AsyncIterator[At]:
    async with KINDS[kind]() as api, aiohttp.ClientSession() as http:
        yield At(api, backend(settings_of(api.section(**changes)), ApiTransport(http=http, **(means or {}))))
