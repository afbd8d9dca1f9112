"""The lists of field names that documents and recipes repeat, made from gateway/config/field_names.py.

`python -m tests.field_lists` writes them into the documents; tests/test_docs.py compares.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.config.field_names import TABLE, Says

ROOT: Final = Path(__file__).resolve().parents[1]
HTTP_GUIDE: Final = ROOT / "deploy" / "guides" / "http.md"
_TITLES: Final = {
    "ends here, whoever sends it": (Says.PERSON, Says.CGI, Says.PATH),
    "ends here, unless a trusted proxy sends it": (Says.PLACE, Says.HOST),
}
_BLOCK = re.compile(r"(<!-- field names: begin -->\n).*?(<!-- field names: end -->)", re.DOTALL)


def guide_table() -> str:
    """The tables of http.md."""
    return "\n".join(line for title, kinds in _TITLES.items() for line in (*_table(title, kinds), ""))


def _table(title: str, kinds: tuple[Says, ...]) -> Iterator[str]:
    yield f"| {title} | known from |"
    yield "| --- | --- |"
    for row in TABLE:
        if row.says in kinds:
            yield f"| {', '.join(f'`{name}`' for name in row.names)} | {row.source} |"


def files() -> Mapping[Path, str]:
    """Every file that repeats a list, as it should be."""
    guide = HTTP_GUIDE.read_text()
    return {HTTP_GUIDE: _BLOCK.sub(lambda match: match[1] + guide_table() + match[2], guide)}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
