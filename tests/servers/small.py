"""The servers that pip and npm provide, `php -S`, and nginx with WebDAV: those that `make e2e` runs."""

from pathlib import Path

from tests.e2e.needs import program
from tests.e2e.processes import Program, listens
from tests.servers.door import Kind, environment

HERE = Path(__file__).resolve().parent
APPS = HERE / "apps"
VENVS = HERE.parents[1] / "build" / "servers"
EXPRESS = HERE.parent / "e2e" / "express_visited.mjs"

NGINX_DAV = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  log_format reached "$route $request_method $uri";
  map $uri $route {{
    "~*^/(login|signin)" login;
    default admin;
  }}
  access_log off;
  client_body_temp_path {folder}/files/.body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type text/plain;
  server {{
    listen 127.0.0.1:{port};
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
  }}
}}
"""


def _python(venv: str) -> Path:
    python = VENVS / venv / "bin" / "python"
    assert python.exists(), f"run `make e2e` or `make servers`: they make {python}"
    return python


def _wait(running: Program, port: int) -> list[Program]:
    running.wait_until(lambda: listens(port))
    return [running]


def gunicorn(version: str, worker: str) -> Kind:
    def start(folder: Path, port: int) -> list[Program]:
        # One worker and several threads: whoever shares a worker shares what is wrong with it.
        worker_options = ["--worker-class", "gthread", "--threads", "16"] if worker == "gthread" else ["--workers", "4"]
        command = [_python(f"gunicorn-{version}"), "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *worker_options]
        command += ["--keep-alive", "30", "--chdir", APPS, "--log-level", "error", "visited:wsgi"]
        return _wait(Program(command, folder / "server.log", environ=environment(folder)), port)

    falls_for = {"path"} if worker else set()
    return Kind(f"gunicorn {version} {worker}", start, direct=frozenset(falls_for))


def small(name: str) -> Kind:
    def start(folder: Path, port: int) -> list[Program]:
        command = [_python("small"), APPS / "serve.py", name, str(port)]
        return _wait(Program(command, folder / "server.log", environ=environment(folder)), port)

    return Kind(name, start)


def start_uvicorn(folder: Path, port: int) -> list[Program]:
    command = [_python("small"), "-m", "uvicorn", "--port", str(port), "--log-level", "error", "--app-dir", APPS]
    command += ["visited_asgi:asgi"]
    return _wait(Program(command, folder / "server.log", environ=environment(folder)), port)


def start_express(folder: Path, port: int) -> list[Program]:
    running = Program(["node", EXPRESS, str(port)], folder / "server.log", environ=environment(folder))
    return _wait(running, port)


def start_php(folder: Path, port: int) -> list[Program]:
    php = program("php")
    assert php is not None, "run `make e2e`: it installs php-cli"
    command = [php, "-d", "upload_tmp_dir=/tmp", "-S", f"127.0.0.1:{port}", "-t", APPS / "php"]
    environ = {**environment(folder), "PHP_CLI_SERVER_WORKERS": "4"}
    return _wait(Program(command, folder / "server.log", environ=environ), port)


def start_nginx_dav(folder: Path, port: int) -> list[Program]:
    nginx = program("nginx")
    assert nginx is not None, "run `make e2e`: it installs nginx"
    file = folder / "nginx.conf"
    file.write_text(NGINX_DAV.format(folder=folder, port=port))
    assets = folder / "files" / "assets"
    assets.mkdir()
    (folder / "files" / "admin").mkdir()
    for name in ("pay", "large"):
        (folder / "files" / name).rename(assets / name)
    for each in (folder / "files", assets, folder / "files" / "admin"):
        each.chmod(0o777)
    return _wait(Program([nginx, "-p", folder, "-e", folder / "error.log", "-c", file], folder / "server.log"), port)


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
