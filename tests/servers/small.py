"""The servers that pip and npm provide, `php -S`, and nginx with WebDAV: those that `make e2e` runs."""

from pathlib import Path

from tests.e2e.needs import required
from tests.e2e.processes import Command, Program
from tests.e2e.web_servers import start_nginx
from tests.servers.door import Kind, listening

HERE = Path(__file__).resolve().parent
APPS = HERE / "apps"
VENVS = HERE.parents[1] / "build" / "servers"
EXPRESS = HERE.parent / "e2e" / "express_visited.mjs"

NGINX_DAV_HTTP = """
  log_format reached "$route $request_method $uri";
  map $uri $route {
    "~*^/(login|signin)" login;
    default admin;
  }
"""
NGINX_DAV = """
    client_max_body_size 16m;
    root {folder}/files;
    location ~* "^/(admin(/|$)|login(/(index|login|password))?/?$|signin/?$)" {{
      access_log {folder}/reached reached;
      dav_methods PUT DELETE MKCOL COPY MOVE;
      return 200 "route=$route\\nmethod=$request_method\\nuri=$uri\\n";
    }}
    location /assets/own/ {{ return 200 "route=plain\\nmethod=$request_method\\nuri=$uri\\n"; }}
    location = /assets/empty {{ return 204; }}
    location = /assets/cached {{ add_header ETag '"1"'; return 200 "cached"; }}
    location /assets/ {{
      dav_methods PUT DELETE MKCOL COPY MOVE;
      create_full_put_path on;
    }}
    location / {{ return 200 "route=plain\\nmethod=$request_method\\nuri=$uri\\n"; }}
"""


def _python(venv: str) -> Path:
    python = VENVS / venv / "bin" / "python"
    assert python.exists(), f"run `make e2e` or `make servers`: they make {python}"
    return python


def gunicorn(version: str, worker: str) -> Kind:
    def start(folder: Path, port: int) -> list[Program]:
        # One worker and several threads: whoever shares a worker shares what is wrong with it.
        worker_options = ["--worker-class", "gthread", "--threads", "16"] if worker == "gthread" else ["--workers", "4"]
        command: Command = [_python(f"gunicorn-{version}"), "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
        command += [*worker_options, "--keep-alive", "30", "--chdir", APPS, "--log-level", "error", "visited:wsgi"]
        return listening(command, folder, port)

    falls_for = {"path"} if worker else set()
    return Kind(f"gunicorn {version} {worker}", start, direct=frozenset(falls_for))


def small(name: str) -> Kind:
    def start(folder: Path, port: int) -> list[Program]:
        return listening([_python("small"), APPS / "serve.py", name, str(port)], folder, port)

    return Kind(name, start)


def start_uvicorn(folder: Path, port: int) -> list[Program]:
    command: Command = [
        _python("small"),
        "-m",
        "uvicorn",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--app-dir",
        APPS,
    ]
    return listening([*command, "visited_asgi:asgi"], folder, port)


def start_express(folder: Path, port: int) -> list[Program]:
    return listening(["node", EXPRESS, str(port)], folder, port)


def start_php(folder: Path, port: int) -> list[Program]:
    command: Command = [required("php"), "-d", "upload_tmp_dir=/tmp", "-S", f"127.0.0.1:{port}", "-t", APPS / "php"]
    return listening(command, folder, port, {"PHP_CLI_SERVER_WORKERS": "4"})


def start_nginx_dav(folder: Path, port: int) -> list[Program]:
    assets = folder / "files" / "assets"
    assets.mkdir()
    (folder / "files" / "admin").mkdir()
    for name in ("pay", "large"):
        (folder / "files" / name).rename(assets / name)
    for each in (folder / "files", assets, folder / "files" / "admin"):
        each.chmod(0o777)
    server = NGINX_DAV.format(folder=folder)
    return [start_nginx(folder, port, server, http=NGINX_DAV_HTTP, bodies=folder / "files" / ".body")]


KINDS = (
    *(gunicorn(version, worker) for version in ("20.1", "21.2", "23.0") for worker in ("sync", "gthread")),
    small("waitress"),
    small("cheroot"),
    small("werkzeug"),
    Kind("uvicorn", start_uvicorn, websockets=True),
    Kind("express", start_express, websockets=True),
    Kind("php -S", start_php),
    Kind("nginx WebDAV", start_nginx_dav, methods=False),
)
