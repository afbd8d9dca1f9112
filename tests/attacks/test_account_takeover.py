"""Whose an account is, where the directory keeps it in a form of its own: nobody takes an account that is somebody else's."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from gateway.directory.account import kept_link
from gateway.directory.person import filled_link
from gateway.errors.signing_in import AccountLinkedElsewhere, DirectoryUnavailable, NotRegistered
from gateway.identity.claims import Identity
from gateway.observability import events as events
from tests.fakes.gitlab import GitLab
from tests.fakes.rowing_club import RowingClub
from tests.unit.directory.api import ANA, EMAIL
from tests.unit.directory.test_linking import Desk, desk

NEWCOMER = replace(ANA, subject="sub-2")
SAME_SUBJECT = replace(ANA, issuer="https://members.example.net/")

#: kind of directory, the form of its links, what stands in an account of ANA's, what stands in another person's.
FORMS: list[Any] = [
    pytest.param("rowing club", "{subject}", "sub-1", "sub-9", id="http, the subject alone"),
    pytest.param("rowing club", "{claims.oid}", "oid of sub-1", "oid of sub-9", id="http, a claim"),
    pytest.param("rowing club", "{issuer}~{subject}", f"{ANA.issuer}~sub-1", f"{ANA.issuer}~sub-9", id="http, both"),
    pytest.param("rowing club", "{link}", f"{ANA.issuer}|sub-1", "badge 4711", id="http, our form"),
    pytest.param("gitlab", "{link}", f"{ANA.issuer}|sub-1", "sub-1", id="the example"),
    pytest.param("scim", "{link}", f"{ANA.issuer}|sub-1", "00u-of-another-provisioner", id="scim"),
    pytest.param("scim", "{claims.oid}", "oid of sub-1", "oid of sub-9", id="scim, a claim"),
    pytest.param("nexudus", "{link}", f"{ANA.issuer}|sub-1", "4711", id="nexudus"),
    pytest.param("nexudus", "{subject}", "sub-1", "sub-9", id="nexudus, the subject alone"),
]
every_form = pytest.mark.parametrize(("kind", "form", "own", "others"), FORMS)


def keeping(kind: str, form: str) -> dict[str, Any]:
    """What a directory's section says to keep links in this form."""
    if kind == "rowing club":
        section = RowingClub().section()
        asked = section["requests"] | {"find_linked": {"path": f"/badges/{form}", "at": "/badge/holder"}}
        made = asked["create"] | {"form": asked["create"]["form"] | {"badge": form}}
        return {"requests": asked | {"create": made}, "answer": section["answer"] | {"link_value": form}}
    if kind == "nexudus":
        return {"link_field": "ReferenceNumber", "link_value": form}
    return {} if kind == "gitlab" else {"link_value": form}


async def come(at: Desk, identity: Identity = ANA, registration: Any = "create") -> Identity:
    return await at.ensure(identity, registration, oid=f"oid of {identity.subject}")


async def lose(redis: Redis, prefix: str) -> None:
    """Redis is empty again."""
    await redis.delete(*[key async for key in redis.scan_iter(match=f"{prefix}*")])


@every_form
async def test_an_account_that_is_linked_to_another_person_is_not_taken_by_a_new_subject_with_its_address(
    redis: Redis, prefix: str, kind: str, form: str, own: str, others: str
) -> None:
    """A-80: whatever stands in the field and is not this person's is somebody's."""
    async with desk(kind, redis, prefix, **keeping(kind, form)) as at:
        at.api.add(EMAIL, "Ana", link=others)
        for identity in (ANA, NEWCOMER, SAME_SUBJECT):
            for registration in ("create", "refuse"):
                with pytest.raises(AccountLinkedElsewhere):
                    await come(at, identity, registration)
        assert {line["reason"] for line in at.told(events.ACCOUNT_REFUSED)} == {"linked_elsewhere"}
        assert at.api.addresses == [EMAIL]
        assert await at.provisioner.known(NEWCOMER) is None


@every_form
async def test_whose_account_it_is_comes_in_by_the_link_and_keeps_everybody_else_out(
    redis: Redis, prefix: str, kind: str, form: str, own: str, others: str
) -> None:
    """A-80: Redis was lost, or never knew them: the directory's own word counts."""
    async with desk(kind, redis, prefix, **keeping(kind, form)) as at:
        number = at.api.add("old@tenant.example", "Ana", link=own)
        assert (await come(at)).directory["id"] == number
        await lose(redis, prefix)
        with pytest.raises(AccountLinkedElsewhere):
            await come(at, replace(NEWCOMER, email="old@tenant.example"))
        assert (await come(at)).directory["id"] == number


@every_form
async def test_a_new_account_is_its_makers_in_every_form_also_when_redis_was_lost(
    redis: Redis, prefix: str, kind: str, form: str, own: str, others: str
) -> None:
    """A-80."""
    async with desk(kind, redis, prefix, **keeping(kind, form)) as at:
        made = (await come(at)).directory["id"]
        await lose(redis, prefix)
        with pytest.raises(AccountLinkedElsewhere):
            await come(at, NEWCOMER)
        assert (await come(at)).directory["id"] == made
        assert at.api.addresses == [EMAIL]


@pytest.mark.parametrize(
    "kept",
    [" ", "SUB-1", "sub-1 ", " sub-1", "sub-1\u200b", "ｓub-1", "sub-", "sub-11", 0, False, True, 4711, ["sub-9"], ["sub-1", "sub-9"],
     ["sub-9", "sub-1"], [["sub-1"]], {"sub-1": 1}, [{}], "[]", "null"],
    ids=repr,
)  # fmt: skip
async def test_what_is_not_exactly_this_persons_is_somebodys(redis: Redis, prefix: str, kept: Any) -> None:
    """A-80: no case, blank or look-alike makes one person another, and a value of another type is nobody's gap."""
    async with desk("rowing club", redis, prefix, **keeping("rowing club", "{subject}")) as at:
        at.api.add(EMAIL, "Ana", link=kept)
        with pytest.raises(AccountLinkedElsewhere):
            await come(at)


@pytest.mark.parametrize("kept", [None, "", [], {}, [None], [""]], ids=repr)
async def test_a_field_with_nothing_in_it_is_nobodys_and_the_first_one_gets_the_account(
    redis: Redis, prefix: str, kept: Any
) -> None:
    async with desk("rowing club", redis, prefix, **keeping("rowing club", "{subject}")) as at:
        number = at.api.add(EMAIL, "Ana")
        at.api.members[int(number)]["badge"] = kept
        assert (await come(at)).directory["id"] == number
        with pytest.raises(AccountLinkedElsewhere):
            await come(at, NEWCOMER)


def test_no_subject_is_written_like_a_value_that_is_no_text() -> None:
    """A-80."""
    foreign = kept_link(["a", "b"])
    assert foreign == '\0["a", "b"]'
    assert filled_link("{subject}", {"subject": foreign}.get) is None
    assert filled_link("{subject}", {"subject": "a"}.get) == "a"


@pytest.mark.parametrize("nothing", [None, "", " ", "\t", " \r\n", "\u00a0", "\u3000"], ids=repr)
def test_a_filled_value_with_nothing_in_it_is_nobodys(nothing: str | None) -> None:
    """A-80: directories trim, and then it stands in every account that is nobody's yet."""
    assert filled_link("{subject}", {"subject": nothing}.get) is None


@pytest.mark.parametrize("kept", [["sub-1"], ["sub-1", None, ""]], ids=repr)
async def test_a_list_of_one_is_that_one(redis: Redis, prefix: str, kept: Any) -> None:
    async with desk("rowing club", redis, prefix, **keeping("rowing club", "{subject}")) as at:
        number = at.api.add(EMAIL, "Ana", link=kept)
        assert (await come(at)).directory["id"] == number


@pytest.mark.parametrize("oid", [None, "", " ", [], {"a": 1}, "x\n"], ids=repr)
async def test_a_person_for_whom_nothing_can_be_filled_in_matches_no_account(
    redis: Redis, prefix: str, oid: Any
) -> None:
    """A-80: an account without a link is not that of a person without one; and a request without its value lists everybody."""
    asked = GitLab().section()["requests"]
    query = {"extern_uid": "{claims.oid}", "provider": "openid_connect"}
    answer = GitLab().section()["answer"] | {"link_value": "{claims.oid}"}
    changes = {"requests": asked | {"find_linked": {"path": "/users", "query": query}}, "answer": answer}
    async with desk("gitlab", redis, prefix, **changes) as at:
        at.api.add("ben@tenant.example", "Ben")
        with pytest.raises(NotRegistered):
            await at.ensure(ANA, "refuse", oid=oid)
        theirs = at.api.add(EMAIL, "Ana", link="oid of sub-1")
        with pytest.raises(AccountLinkedElsewhere):
            await at.ensure(ANA, oid=oid)
        assert (await come(at)).directory["id"] == theirs


async def test_a_list_without_the_link_makes_no_account_nobodys(redis: Redis, prefix: str) -> None:
    """A-80: many APIs leave fields out where they list; the account itself is asked."""
    for kind in ("rowing club", "scim"):
        async with desk(kind, redis, f"{prefix}{kind}:", **keeping(kind, "{link}")) as at:
            number = at.api.add(EMAIL, "Ana", link="another person's")
            at.api.brief = True
            for _ in range(2):
                with pytest.raises(AccountLinkedElsewhere):
                    await come(at)
            assert await at.provisioner.known(ANA) is None
            at.api.unreadable = {number}
            with pytest.raises(DirectoryUnavailable):
                await come(at)


async def test_an_account_that_the_directory_gives_to_another_person_is_lost_to_the_first(
    redis: Redis, prefix: str
) -> None:
    """A-80: at the next sign-in, and at the next token refresh where accounts are looked at then."""
    async with desk("scim", redis, prefix) as at:
        known = await come(at)
        user = at.api.users[known.directory["id"]]
        user["externalId"] = f"{ANA.issuer}|sub-9"
        with pytest.raises(AccountLinkedElsewhere):
            await come(at)
        with pytest.raises(AccountLinkedElsewhere):
            await at.provisioner.recheck(known, ANA, app="portal", registration="refuse")
        assert await at.provisioner.known(ANA) is None


@pytest.mark.parametrize("kind", ["rowing club", "scim"])
async def test_of_two_first_sign_ins_with_one_address_at_the_same_moment_one_gets_the_account(
    redis: Redis, prefix: str, kind: str
) -> None:
    """A-80: whether the account is there already or is being made."""
    for there in (True, False):
        async with desk(kind, redis, f"{prefix}{there}:", **keeping(kind, "{subject}")) as at:
            if there:
                at.api.add(EMAIL, "Ana")
            people = [replace(ANA, subject=f"sub-{number}") for number in range(6)]
            outcomes = await asyncio.gather(*(come(at, one) for one in people), return_exceptions=True)
            assert len([one for one in outcomes if isinstance(one, Identity)]) == 1
            assert len([one for one in outcomes if isinstance(one, AccountLinkedElsewhere)]) == 5
            assert at.api.addresses == [EMAIL]
