"""Connections to Redis: what a URL may say, and TLS that is checked."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from gateway.config import schema
from gateway.errors.dependencies import StoreUnavailable
from gateway.redis_client.client import Operations, connect
from gateway.redis_client.connection_factory import ConnectionFactory
from tests.fakes.redis_commands import command
from tests.fakes.valkey import FlakyLink
from tests.unit.sessions.made import a_client


def a_certificate(folder: Path, address: str = "127.0.0.1") -> Path:
    """A self-signed certificate with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{address}-{certificate.serial_number}.pem"
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(pem) + secret)
    return file


def speaking_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_of_the_named_authority_is_believed(valkey: str, tmp_path: Path) -> None:
    certificate = a_certificate(tmp_path)
    async with FlakyLink(valkey, speaking_tls(certificate)) as link:
        settings = schema.Redis(url=SecretStr(link.url), tls=schema.RedisTls(ca=certificate))
        async with connect(settings) as client:
            assert await client.ping()
        pushes = ConnectionFactory(settings).push_connection()
        await pushes.connect()  # type: ignore[no-untyped-call]
        await pushes.disconnect()


@pytest.mark.parametrize("wrong", ["unknown authority", "other name"])
@pytest.mark.parametrize("kind", [connect, lambda settings: ConnectionFactory(settings).push_connection()])
async def test_any_other_certificate_is_not(
    valkey: str, tmp_path: Path, wrong: str, kind: Callable[[schema.Redis], Redis | AbstractConnection]
) -> None:
    """C-43: whoever stands in between learns neither password nor sessions."""
    certificate = a_certificate(tmp_path, "127.0.0.1" if wrong == "unknown authority" else "192.0.2.1")
    believed = a_certificate(tmp_path) if wrong == "unknown authority" else certificate
    async with FlakyLink(valkey, speaking_tls(certificate)) as link:
        client = kind(schema.Redis(url=SecretStr(link.url), tls=schema.RedisTls(ca=believed)))
        with pytest.raises(Exception, match="certificate"):
            await (client.ping() if isinstance(client, Redis) else client.connect())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "http://x/",
        "redis+sentinel://a,b",
        "redis+cluster://a,b/1",
        "rediss://x/?ssl_cert_reqs=none",
        "redis://x/?socket_timeout=0",
    ],
)
def test_a_url_of_another_kind_or_with_options_is_refused(url: str) -> None:
    """C-21: the configuration refuses it first; nobody else can bring one in either."""
    with pytest.raises(ValueError, match=r"redis\.url"):
        connect(schema.Redis(), url)


async def test_of_a_failure_of_redis_only_its_kind_is_kept(redis: Redis, valkey: str) -> None:
    """C-48: Redis quotes the arguments of a command that it does not know, and of those that it refuses."""
    with pytest.raises(StoreUnavailable) as caught:
        await Operations(redis, "test").run(command(redis, "NO-SUCH-COMMAND", "hunter2"))
    assert "hunter2" in str(caught.value.__cause__)
    assert (caught.value.detail, str(caught.value)) == (f"{valkey.removeprefix('unix://')}: it refuses a command",) * 2


def test_a_client_shows_no_password() -> None:
    """C-48."""
    assert "hunter2" not in repr(a_client("redis://user:hunter2@127.0.0.1:1/0"))
