"""`redis.url` and `redis.outage`: every form that there is, and what is said of the others."""

from datetime import timedelta

import pytest

from gateway.config.redis_url import RedisUrl, parse_redis_url
from gateway.config.sections.redis import parse_outage


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("embedded", RedisUrl(kind="embedded")),
        ("redis://valkey", RedisUrl(kind="server", hosts=(("valkey", 6379),))),
        ("redis://redis_1:7", RedisUrl(kind="server", hosts=(("redis_1", 7),))),
        ("redis://:pw@[::1]:1/3", RedisUrl(kind="server", hosts=(("::1", 1),), password="pw", database=3)),
        (
            "rediss://u:p%40%2F@r.example.com/",
            RedisUrl(kind="server", hosts=(("r.example.com", 6379),), tls=True, username="u", password="p@/"),
        ),
        ("unix:///run/r.sock?db=1", RedisUrl(kind="socket", path="/run/r.sock", database=1)),
        ("unix://u:pw@/run/r.sock", RedisUrl(kind="socket", path="/run/r.sock", username="u", password="pw")),
        (
            "redis+sentinel://u:pw@h1,h2:1,[::1]/doors/2",
            RedisUrl(
                kind="sentinel",
                hosts=(("h1", 26379), ("h2", 1), ("::1", 26379)),
                username="u",
                password="pw",
                name="doors",
                database=2,
            ),
        ),
        ("rediss+sentinel://h1/a.b-c_d", RedisUrl(kind="sentinel", hosts=(("h1", 26379),), tls=True, name="a.b-c_d")),
        ("redis+cluster://h1,h2:7000/", RedisUrl(kind="cluster", hosts=(("h1", 6379), ("h2", 7000)))),
        ("rediss+cluster://h1", RedisUrl(kind="cluster", hosts=(("h1", 6379),), tls=True)),
    ],
)
def test_each_form_says_where_and_how(text: str, meant: RedisUrl) -> None:
    assert parse_redis_url(text) == meant


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not a Redis URL"),
        ("http://valkey", "not a Redis URL"),
        ("sentinel://h/x", "not a Redis URL"),
        ("redis://", "host that is none"),
        ("redis://h:x", "host that is none"),
        ("redis://h:0", "host that is none"),
        ("redis://h:65536", "host that is none"),
        ("redis+cluster://h1,,h2", "host that is none"),
        ("redis+cluster://h1,h1:6379", "names a host twice"),
        ("redis://h1,h2", "several hosts"),
        ("redis://h/x", "more than a database number"),
        ("redis://h?ssl_cert_reqs=none", "has options"),
        ("redis+sentinel://h/doors?x=1", "has options"),
        ("redis+sentinel://h", "no name of a Sentinel set"),
        ("redis+sentinel://h/a b", "no name of a Sentinel set"),
        ("redis+sentinel://h/doors/x", "more than a database number"),
        ("redis+cluster://h/1", "a cluster has none but 0"),
        ("redis://u:@h", "empty password"),
        ("unix:/run/r.sock", "not a Redis URL"),
        ("unix://host/run/r.sock", "not a Redis URL"),
        ("unix:///run/r.sock?ssl_cert_reqs=none", "another option than db"),
        ("unix:///run/r.sock?db=x", "another option than db"),
    ],
)
def test_what_is_wrong_with_any_other_is_said(text: str, word: str) -> None:
    """C-21."""
    with pytest.raises(ValueError, match=f"{word}.*allowed: embedded"):
        parse_redis_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "gopher://u:hunter2@h",
        "redis://u:hunter2@h:x",
        "redis://u:hunter2@h?x",
        "redis+cluster://u:hunter2@h/7",
        "redis+sentinel://u:hunter2@h",
        "unix://u:hunter2@h/x",
    ],
)
def test_a_url_that_is_refused_is_not_repeated(text: str) -> None:
    """C-48: it may hold a password."""
    with pytest.raises(ValueError) as refused:
        parse_redis_url(text)
    assert "hunter2" not in str(refused.value)


def test_a_url_does_not_show_its_password() -> None:
    """C-48."""
    assert "hunter2" not in repr(parse_redis_url("redis://u:hunter2@h"))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("refuse", timedelta(0)),
        ("serve_cached for 5m", timedelta(minutes=5)),
        ("serve_cached for 1d", timedelta(days=1)),
    ],
)
def test_an_outage_is_refused_for_or_outlasted_for_a_time(text: str, time: timedelta) -> None:
    assert parse_outage(text) == time


@pytest.mark.parametrize(
    "text", ["serve_cached", "serve_cached for", "serve_cached for 0s", "serve_cached for 2d", "on", 5]
)
def test_any_other_policy_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"allowed: .*serve_cached for"):
        parse_outage(text)
