"""The record of saved settings: which version is in force, whatever was saved over what."""

from gateway.config.overlay import SavedValue
from gateway.saved_settings.record import (
    CONFIRM_SECONDS,
    MOST_VERSIONS,
    NO_RECORD,
    SettingsRecord,
    SettingsVersion,
    decode,
    encode,
)

PREVENT = "openid.prevent_password_login"


def saved(record: SettingsRecord, value: SavedValue, at: float, *, confirmed: bool = False) -> SettingsRecord:
    """The record with one more version, which is to be confirmed unless it is."""
    return record.with_version(
        SettingsVersion(
            number=0, kind="saved", at=at, by="Otto", reason="a test", values={PREVENT: value},
            confirm_by=None if confirmed else at + CONFIRM_SECONDS,
        )
    )  # fmt: skip


def test_what_was_not_confirmed_does_not_come_back_because_a_second_version_was_not_either() -> None:
    """C-98."""
    closed = saved(NO_RECORD, True, 0.0, confirmed=True)
    opened = saved(closed, False, 10.0)
    over_it = opened.rolled_back("Olga", "back to the file's", 20.0, to=1, lasting=CONFIRM_SECONDS)
    late = 20.0 + CONFIRM_SECONDS
    assert over_it.in_force(late).values == {PREVENT: True}
    written_down = over_it.rolled_back("doorward", "not confirmed in time", late)
    assert written_down.in_force(late).values == {PREVENT: True}
    assert decode(encode(written_down)).in_force(late + 1).values == {PREVENT: True}


def test_saving_over_a_version_whose_time_is_over_does_not_confirm_it() -> None:
    """C-98: before any process has written down that it was rolled back."""
    opened = saved(saved(NO_RECORD, True, 0.0, confirmed=True), False, 10.0)
    late = 10.0 + CONFIRM_SECONDS
    again = saved(opened, None, late)
    assert again.in_force(late).values == {PREVENT: None}
    assert again.in_force(late + CONFIRM_SECONDS).values == {PREVENT: True}
    assert again.rolled_back("Olga", "undone", late + 1).in_force(late + 1).values == {PREVENT: True}


def test_the_version_that_a_rollback_leads_to_outlives_any_number_of_unconfirmed_ones() -> None:
    """C-98."""
    record = saved(NO_RECORD, True, 0.0, confirmed=True)
    for second in range(2 * MOST_VERSIONS):
        record = saved(record, False, float(second))
        assert len(record.versions) <= MOST_VERSIONS
    assert record.in_force(10 * CONFIRM_SECONDS).values == {PREVENT: True}
