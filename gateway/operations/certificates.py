"""When the certificates of ours end."""

import contextlib

from cryptography.x509 import load_pem_x509_certificates

from gateway.config.providers import key_of, providers_of
from gateway.config.schema import Config


def certificate_ends(config: Config) -> dict[str, float]:
    """When the certificates of ours end, the first of each chain, in seconds since 1970; by configuration key, where they can be read."""
    ends = {}
    files = {"tls.certificate": config.tls.certificate, "redis.tls.certificate": config.redis.tls.certificate}
    for name, provider in providers_of(config).items():
        files[f"{key_of(name)}.client_tls.certificate"] = provider.client_tls.certificate
    for key, file in files.items():
        with contextlib.suppress(OSError, ValueError):
            if file is not None:
                chain = load_pem_x509_certificates(file.read_bytes())
                ends[key] = min(each.not_valid_after_utc.timestamp() for each in chain)
    return ends
