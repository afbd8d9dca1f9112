"""Settings that are saved, again and again, while people sign in, ask and sign out."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.config.loader import Resolved
from gateway.operations.settings.editor import Author, SettingsEditor
from gateway.saved_settings.copy import SettingsCopy
from gateway.saved_settings.store import SettingsStore
from tests.chaos.process_faults import nobody_noticed
from tests.chaos.stage import PREFIX, Stage
from tests.chaos.trial import Fault, Proof

_OPERATOR = Author(name="chaos")


@asynccontextmanager
async def saved(stage: Stage, proof: Proof) -> AsyncIterator[None]:
    """A password toggle is saved, then rolled back: all workers of both replicas follow, twice."""
    store = SettingsStore(stage.client, stage.ring, PREFIX)
    data = {**stage.settings(), "listen": "127.0.0.1:4180"}
    editor = SettingsEditor(Resolved(data=data), store, SettingsCopy(None))
    before = {pid for replica in stage.replicas for pid in replica.workers()}
    began = time.monotonic()
    version = await editor.save({"openid.prevent_password_login": True}, _OPERATOR, "chaos", confirmed=True)
    await stage.until(lambda: _in_force(stage, version.number), "a replica does not follow the saved settings", 60)
    followed = time.monotonic() - began
    yield
    back = await editor.reset(_OPERATOR, "chaos")
    await stage.until(lambda: _in_force(stage, back.number), "a replica does not follow the reset", 60)
    await stage.until(stage.all_ready, "the replicas do not become ready", 60)

    async def replaced() -> bool:
        return not before & {pid for replica in stage.replicas for pid in replica.workers()}

    await stage.until(replaced, "the old workers do not leave", 60)
    proof.text = f"saved and reset; every worker of two replicas followed, first after {followed:.1f} s"


async def _in_force(stage: Stage, version: int) -> bool:
    told = [(await replica.ready())[1] for replica in stage.replicas]
    return all(each.get("process", {}).get("settings_version") == version for each in told)


FAULTS = (Fault(name="settings saved", happening=saved, seconds=3.0, at_once=True, after=nobody_noticed),)
