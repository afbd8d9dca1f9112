"""`doorward probe` against the demo as it is: nothing through. And against its sample applications with one rule taken out: it finds that."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.reading.packs import PACKS
from tests.e2e.backstage import Backstage
from tests.e2e.processes import free_port
from tests.e2e.stack import OUTPUT, Behind, CertifiedProvider, running_demo, settings, start_gateway

DOORWARD = Path(sys.executable).with_name("doorward")


def probe(url: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([DOORWARD, "probe", url, *arguments], capture_output=True, text=True, timeout=280)
    return done.returncode, done.stdout + done.stderr


def test_nothing_gets_through_the_demo() -> None:
    """C-10 to C-13, B-31, B-35: all of the corpus at the portal, a part at the dashboard."""
    with running_demo("demo") as port:
        for name, every in (("portal", "1"), ("dashboard", "10")):
            status, said = probe(f"http://{name}.localhost:{port}", "--rate", "5000", "--every", every)
            (OUTPUT / f"probe of the demo's {name}.txt").write_text(said)
            assert said.splitlines()[-1].startswith("nothing got through: "), said[-2000:]
            assert status == 0


@pytest.mark.parametrize("missing", ["* /api/sys/users/sendOtp", "* /signup/**"])
def test_a_rule_that_was_taken_out_of_the_demos_doors_is_found(
    missing: str, provider: CertifiedProvider, tmp_path: Path
) -> None:
    rules: list[dict[str, Any]] = yaml.safe_load((PACKS / "nexudus.yaml").read_text())["rules"]
    backstage, behind, port = Backstage(), Behind(), free_port()
    backstage.run(behind.start())
    config = settings(port, free_port(), provider, behind, {})
    config["apps"]["portal"]["password_routes"] = [rule for rule in rules if rule["match"] != missing]
    gateway = start_gateway(config, tmp_path)
    status, said = probe(f"http://portal.localhost:{port}", "--rate", "5000", "--every", "10", "--json")
    found = json.loads(said)
    assert status == 1
    assert {request["rule"] for request in found["requests"]} == {f"nexudus: {missing}"}
    assert found["holes"] > 0
    gateway.stop()
    backstage.run(behind.close())
    backstage.close()
