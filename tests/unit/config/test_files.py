"""Files that a configuration names."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.config.reading.packs import pack_names
from tests.unit.config.made import changed, problems_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With cert.pem and key.pem that belong together, other.pem (another key), and a text."""
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "portal.example.com")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1)).sign(
        key, SHA256()
    )
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    for file, made in (("key.pem", key), ("other.pem", other)):
        (tmp_path / file).write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "text").write_text("text")
    return tmp_path


def said(folder: Path, changes: dict[str, object]) -> list[str]:
    return [f"{problem.key}: {problem.what}" for problem in problems_of(folder, changed(changes))]


def test_a_certificate_and_its_key_are_found_beside_the_configuration(folder: Path) -> None:
    pair = {"certificate": "cert.pem", "key": "key.pem"}
    assert said(folder, {"tls": pair, "openid.ca": "cert.pem", "redis": {"url": "rediss://h", "tls": pair}}) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tls": {"certificate": "missing", "key": "key.pem"}}, "tls.certificate: cannot be read: no such file or directory"),
        ({"tls": {"certificate": "cert.pem", "key": "."}}, "tls.key: cannot be read: is a directory"),
        ({"tls": {"certificate": "cert.pem", "key": "other.pem"}}, "tls: has a certificate and a key that cannot be used together"),
        ({"tls": {"certificate": "text", "key": "key.pem"}}, "tls: has a certificate and a key that cannot be used together"),
        ({"openid.ca": "missing"}, "openid.ca: cannot be read: no such file or directory"),
        ({"openid.ca": "text"}, "openid.ca: holds no certificate"),
        ({"redis": {"url": "rediss://h", "tls": {"ca": "text"}}}, "redis.tls.ca: holds no certificate"),
        ({"apps.portal.upstream": "https://h", "apps.portal.upstream_tls": {"ca": "text"}}, "apps.portal.upstream_tls.ca: holds no certificate"),
        ({"pages": {"logo": "missing.svg"}}, "pages.logo: cannot be read: no such file or directory"),
        ({"apps.portal.pages": {"logo": "missing.svg"}}, "apps.portal.pages.logo: cannot be read: no such file or directory"),
        ({"pages": {"logo": "text"}}, "pages.logo: is not a small picture"),
        ({"redis": {"data_dir": "text"}}, "redis.data_dir: is not a folder"),
        ({"redis": {"data_dir": "a/b/c"}}, "redis.data_dir: is not a folder"),
        ({"apps.portal.password_routes": "nexus"}, "apps.portal.password_routes[0]: names a rule pack that does not exist"),
        ({"apps.portal.password_routes": ["nexudus", "x"]}, "apps.portal.password_routes[1]: names a rule pack that does not exist"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_should_be_is_refused(
    folder: Path, changes: dict[str, object], expected: str
) -> None:
    """C-21."""
    assert said(folder, changes) == [expected]


@pytest.mark.parametrize("name", [".", "new"])
def test_the_data_folder_may_exist_or_be_made(folder: Path, name: str) -> None:
    assert said(folder, {"redis": {"data_dir": name}}) == []


def test_there_is_a_pack_for_nexudus() -> None:
    assert "nexudus" in pack_names()
