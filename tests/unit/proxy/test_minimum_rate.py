"""How slow is too slow."""

from gateway.proxy.exchange import MinimumRate


def test_a_client_is_judged_over_whole_windows_and_not_by_a_single_pause() -> None:
    """D-20."""
    pace = MinimumRate(100.0, 0)
    assert not pace.too_slow(105.0, 0, 240, 20.0)
    assert not pace.too_slow(120.0, 4800, 240, 20.0)
    assert not pace.too_slow(139.9, 4800, 240, 20.0)
    assert pace.too_slow(140.0, 9599, 240, 20.0)


def test_a_window_that_was_asked_about_late_is_judged_by_its_real_length() -> None:
    pace = MinimumRate(0.0, 1000)
    assert pace.too_slow(40.0, 1000 + 240 * 40 - 1, 240, 20.0)
    assert not pace.too_slow(80.0, 1000 + 240 * 80, 240, 20.0)
