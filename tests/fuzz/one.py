"""One target under atheris, in a process of its own: `python -m tests.fuzz.one NAME SECONDS FOLDER`. Ends non-zero on a finding."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS, seeds

LONGEST_INPUT = 4096


def main() -> None:
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/{name}-", str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
