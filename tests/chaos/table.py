"""What is printed: a line for each fault, and under it what else there is to say."""

from collections.abc import Iterator

from tests.chaos.judging import Row

HEAD = (
    f"{'fault':34}{'sent':>7}{'wrong':>7}{'lost':>6}{'ended':>7}{'after':>7}{'late ms':>9}{'errors':>8}{'recovers':>10}"
)


def lines(row: Row) -> Iterator[str]:
    """The line, the proof, the errors by kind, the unmet musts."""
    lost = "(all)" if row.lost is None else str(row.lost)
    recovery = "never" if row.recovery is None else f"{row.recovery:.2f} s"
    errors = sum(row.errors.values())
    yield (
        f"{row.name:34}{row.sent:7}{row.wrong:7}{lost:>6}{row.revoked:7}{row.after_revocation:7}{row.late * 1000:9.0f}{errors:8}"
        f"{recovery:>10}"
    )
    yield f"    proof: {row.proof or 'NONE'}"
    if row.errors:
        kinds = sorted(row.errors.items(), key=lambda item: -item[1])
        yield "    errors: " + ", ".join(f"{count} {kind}" for kind, count in kinds)
    for remark in row.remarks:
        yield f"    {remark}"
    for must in row.unmet:
        yield f"    NOT MET: {must}"
