"""nginx and Apache httpd in the foreground, with one site each; what they write stays below one folder."""

from pathlib import Path

from tests.e2e.needs import required
from tests.e2e.processes import Command, Program, listens

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
{main}
http {{
  access_log off;
  client_body_temp_path {bodies};
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type text/plain;
  {http}
  server {{
    listen 127.0.0.1:{port};
    {server}
  }}
}}
"""
_APACHE = """
ServerRoot "{folder}"
ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{folder}/apache.pid"
ErrorLog "{folder}/error.log"
{modules}
User www-data
Group www-data
AllowEncodedSlashes On
{site}
"""


def start_nginx(
    folder: Path, port: int, server: str, *, http: str = "", main: str = "", bodies: Path | None = None
) -> Program:
    """nginx, which listens. `server`, `http`, `main`: directives of these contexts; `bodies`: where request bodies are stored."""
    file = folder / "nginx.conf"
    text = _NGINX.format(
        folder=folder, port=port, server=server, http=http, main=main, bodies=bodies or folder / "body"
    )
    file.write_text(text)
    command: Command = [required("nginx"), "-p", folder, "-e", folder / "error.log", "-c", file]
    return _listening(Program(command, folder / "nginx.log"), port)


def start_apache(folder: Path, port: int, site: str, *modules: str) -> Program:
    """Apache httpd, which listens. `modules`: names of those that the directives of `site` need."""
    file = folder / "apache.conf"
    load = [
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in ("mpm_event", "authz_core", *modules)
    ]
    file.write_text(_APACHE.format(folder=folder, port=port, modules="\n".join(load), site=site))
    return _listening(Program([required("apache2"), "-f", file, "-D", "FOREGROUND"], folder / "apache.log"), port)


def _listening(running: Program, port: int) -> Program:
    running.wait_until(lambda: listens(port))
    return running
