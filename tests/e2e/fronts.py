"""The files of deploy/ for proxies in front of Doorward, each as it stands there, with a test's ports, paths and certificate."""

import http.client
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.needs import required
from tests.e2e.processes import Command, Program, free_port, listens

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
BUILT: Final = ROOT / "build" / "fronts"  # what `make fronts` builds
NAME: Final = "portal.localhost"  # of the certificate


def make_certificate(folder: Path) -> None:
    """`fullchain.pem`, `privkey.pem`, and both in `portal.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "fullchain.pem").write_bytes(chain)
    (folder / "privkey.pem").write_bytes(private)
    (folder / "portal.pem").write_bytes(chain + private)


def nginx(folder: Path, port: int, door: int) -> Program:
    file = _written(folder, "nginx.conf", {
        "/etc/nginx/tls": str(folder), "/tmp/nginx.pid": f"{folder}/pid", "server doorward:4180;": f"server 127.0.0.1:{door};",
        "listen 80 ": f"listen 127.0.0.1:{free_port()} ", "listen 443 ": f"listen 127.0.0.1:{port} ",
    })  # fmt: skip
    command: Command = [required("nginx"), "-p", folder, "-e", folder / "error.log", "-c", file, "-g", "daemon off;"]
    return listening(Program(command, folder / "nginx.log"), port)


def haproxy(folder: Path, port: int, door: int) -> Program:
    file = _written(folder, "haproxy.cfg", {
        "/etc/haproxy/tls": str(folder), "server doorward doorward:4180": f"server doorward 127.0.0.1:{door}",
        "bind :80\n": f"bind 127.0.0.1:{free_port()}\n", "bind :443 ": f"bind 127.0.0.1:{port} ",
    })  # fmt: skip
    return listening(Program([required("haproxy"), "-f", file], folder / "haproxy.log"), port)


def caddy(folder: Path, port: int, door: int) -> Program:
    file = _written(folder, "Caddyfile", {
        "/etc/caddy/tls": str(folder), "doorward:4180": f"127.0.0.1:{door}", "portal.example.com {\n": f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n",
        "\n{\n": "\n{\n\tadmin off\n\tauto_https off\n",
    })  # fmt: skip
    command: Command = [required("caddy"), "run", "--config", file, "--adapter", "caddyfile"]
    return listening(Program(command, folder / "caddy.log", environ={"HOME": str(folder)}), port)


def traefik(folder: Path, port: int, door: int) -> Program:
    """The one that `make fronts` builds."""
    file = _written(folder, "traefik.yaml", {
        "/etc/traefik/tls": str(folder), "http://doorward:4180": f"http://127.0.0.1:{door}", "Host(`portal.example.com`)": f"Host(`{NAME}`)",
    })  # fmt: skip
    return start_traefik(folder, port, file, entry_point="https", tls=True)


def start_traefik(folder: Path, port: int, file: Path, *, entry_point: str, tls: bool) -> Program:
    """Traefik with a dynamic configuration, which has the path /open/."""
    command: Command = [
        BUILT / "traefik", f"--entryPoints.{entry_point}.address=127.0.0.1:{port}", f"--providers.file.filename={file}",
        "--global.sendAnonymousUsage=false", "--global.checkNewVersion=false", "--log.level=INFO",
    ]  # fmt: skip
    running = listening(Program(command, folder / "traefik.log"), port)
    running.wait_until(lambda: _routes(port, tls=tls))  # it listens before it has read the file
    return running


def _routes(port: int, *, tls: bool) -> bool:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, context=trusting)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port)
    )
    with closing(connection):
        try:
            connection.request("GET", "/open/ready", headers={"Host": NAME})
            return connection.getresponse().status != 404
        except ssl.SSLError:
            return False


def _written(folder: Path, name: str, here: Mapping[str, str]) -> Path:
    """The file of deploy/ with each text of `here` once replaced."""
    make_certificate(folder)
    text = (DEPLOY / name).read_text()
    for there, ours in here.items():
        assert len(re.findall(re.escape(there), text)) in (1, 2), there
        text = text.replace(there, ours)
    (folder / name).write_text(text)
    return folder / name


def listening(running: Program, port: int) -> Program:
    """The program, once it listens."""
    running.wait_until(lambda: listens(port))
    return running


#: Starts one in front of Doorward: its folder, its port, and Doorward's.
FRONTS: Final[Mapping[str, Callable[[Path, int, int], Program]]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
    "traefik": traefik,
}
