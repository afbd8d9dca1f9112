"""The servers that Debian has, besides those of `small`: Ruby's, Java's, uWSGI, PHP-FPM behind nginx. `needs` says which packages."""

import subprocess
from pathlib import Path

from tests.e2e.needs import required
from tests.e2e.processes import Command, Program
from tests.e2e.web_servers import start_nginx
from tests.servers.door import Kind, listening

APPS = Path(__file__).resolve().parent / "apps"
TOMCAT = Path("/usr/share/tomcat10")
JETTY = Path("/usr/share/jetty9/lib")
ROUTES = {
    "admin": ["/admin/*"],
    "login": ["/login", "/login/index", "/signin"],
    "token": ["/api/token"],
    "records": ["/records/*"],
    "plain": ["/"],
}

TOMCAT_SERVER = """
<Server port="-1">
  <Service name="Catalina">
    <Connector address="127.0.0.1" port="{port}" protocol="HTTP/1.1" />
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps" autoDeploy="false" />
    </Engine>
  </Service>
</Server>
"""

NGINX_FPM = """
    client_max_body_size 64m;
    root {root};
    index index.php;
    location / {{ try_files $uri $uri/ /{front}$is_args$args; }}
    location ~ \\.php(/|$) {{
      fastcgi_split_path_info ^(.+?\\.php)(/.*)$;
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
      fastcgi_param PATH_INFO $fastcgi_path_info;
      fastcgi_param VISITED_FILES {folder}/files;
      fastcgi_param VISITED_REACHED {folder}/reached;
      fastcgi_pass unix:{folder}/fpm.sock;
    }}
"""

PHP_FPM = """
[global]
daemonize = no
error_log = {folder}/fpm.log
[www]
user = www-data
group = www-data
listen = {folder}/fpm.sock
listen.owner = www-data
listen.group = www-data
pm = static
pm.max_children = 8
catch_workers_output = yes
"""


# --- Ruby -------------------------------------------------------------------------------------------------------------


def puma(name: str, rackup: str) -> Kind:
    def start(folder: Path, port: int) -> list[Program]:
        command: Command = [required("puma"), "--quiet", "--bind", f"tcp://127.0.0.1:{port}", "--threads", "8:16"]
        command += ["--environment", "production", APPS / "ruby" / rackup]
        return listening(command, folder, port)

    return Kind(name, start, websockets=rackup == "rack.ru")


def start_webrick(folder: Path, port: int) -> list[Program]:
    command: Command = [required("rackup"), "--server", "webrick", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--env", "none", APPS / "ruby" / "rack.ru"]
    return listening(command, folder, port)


# --- Java -------------------------------------------------------------------------------------------------------------


def _compile(folder: Path, classpath: str, jakarta: bool, *names: str) -> Path:
    """The classes, in a folder of their own."""
    sources, classes = folder / "sources", folder / "classes"
    sources.mkdir()
    for name in names:
        text = (APPS / name).read_text()
        (sources / name).write_text(text.replace("javax.servlet", "jakarta.servlet") if jakarta else text)
    command = [required("javac"), "-nowarn", "-cp", classpath, "-d", classes, *(sources / name for name in names)]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return classes


def start_tomcat(folder: Path, port: int) -> list[Program]:
    base = folder / "tomcat"
    web = base / "webapps" / "ROOT" / "WEB-INF"
    for each in (web, base / "conf", base / "logs", base / "temp", base / "work"):
        each.mkdir(parents=True)
    _compile(folder, f"{TOMCAT}/lib/*", True, "Visited.java", "Echo.java").rename(web / "classes")
    (base / "conf" / "server.xml").write_text(TOMCAT_SERVER.format(port=port))
    (base / "conf" / "web.xml").write_text(_web_xml({}))
    (web / "web.xml").write_text(_web_xml(ROUTES))
    command: Command = [required("java"), "-cp", f"{TOMCAT}/bin/bootstrap.jar:{TOMCAT}/bin/tomcat-juli.jar", "-Xmx512m"]
    command += [f"-Dcatalina.home={TOMCAT}", f"-Dcatalina.base={base}", f"-Djava.io.tmpdir={base}/temp"]
    command += ["org.apache.catalina.startup.Bootstrap", "start"]
    return listening(command, folder, port)


def _web_xml(routes: dict[str, list[str]]) -> str:
    parts = []
    for route, patterns in routes.items():
        parts.append(
            f"<servlet><servlet-name>{route}</servlet-name><servlet-class>Visited</servlet-class><init-param>"
            f"<param-name>route</param-name><param-value>{route}</param-value></init-param></servlet>"
        )
        parts += [
            f"<servlet-mapping><servlet-name>{route}</servlet-name><url-pattern>{pattern}</url-pattern></servlet-mapping>"
            for pattern in patterns
        ]
    return f'<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0">{"".join(parts)}</web-app>'


def start_jetty(folder: Path, port: int) -> list[Program]:
    classpath = f"{JETTY}/*:{JETTY}/websocket/*"
    classes = _compile(folder, classpath, False, "Visited.java", "JettyMain.java")
    command: Command = [required("java"), "-Xmx512m", "-cp", f"{classes}:{classpath}", "JettyMain", str(port)]
    return listening(command, folder, port)


# --- Python -----------------------------------------------------------------------------------------------------------


def uwsgi(option: str, *before: str) -> Kind:
    """The server's own HTTP socket, without and with kept connections, or its HTTP router before it."""

    def start(folder: Path, port: int) -> list[Program]:
        command: Command = [required("uwsgi-core"), *before, "--plugin", "python3", f"--{option}", f"127.0.0.1:{port}"]
        command += ["--pythonpath", APPS, "--module", "visited:wsgi", "--enable-threads", "--threads", "16"]
        command += ["--disable-logging", "--die-on-term", "--master"]
        return listening(command, folder, port)

    # A WSGI application there sees no chunked body unless it asks uWSGI for it by name, and what is left of one is the next request
    # (deploy/guides/http.md, "Connections"): nothing before it can mend that.
    return Kind(f"uWSGI {option}", start, reads_chunked=option != "http11-socket")


# --- PHP --------------------------------------------------------------------------------------------------------------


def fpm(folder: Path, port: int, root: Path, front: str = "index.php") -> list[Program]:
    """PHP-FPM with nginx before it, as Debian's example has them: `front` gets what is no file below `root`. nginx listens at `port`."""
    pool = folder / "fpm.conf"
    pool.write_text(PHP_FPM.format(folder=folder))
    running = Program([required("php-fpm8.2"), "--nodaemonize", "--fpm-config", pool], folder / "fpm-output.log")
    running.wait_until((folder / "fpm.sock").exists)
    server = NGINX_FPM.format(folder=folder, root=root, front=front)
    return [running, start_nginx(folder, port, server, main="user www-data;")]


def start_fpm(folder: Path, port: int) -> list[Program]:
    return fpm(folder, port, _readable(folder, "php/index.php", "php/login.php"))


def start_symfony(folder: Path, port: int) -> list[Program]:
    return fpm(folder, port, _readable(folder, "symfony.php"), "symfony.php")


def _readable(folder: Path, *names: str) -> Path:
    """Copies where any user may read them: a checkout is often its owner's alone."""
    root = folder / "root"
    root.mkdir()
    for name in names:
        (root / Path(name).name).write_text((APPS / name).read_text())
    return root


KINDS = (
    puma("Rack on puma", "rack.ru"),
    puma("Rails on puma", "rails.ru"),
    Kind("Rack on WEBrick", start_webrick),
    Kind("Tomcat 10", start_tomcat, websockets=True),
    Kind("Jetty 9", start_jetty, websockets=True),
    uwsgi("http-socket"),
    uwsgi("http11-socket"),
    uwsgi("http", "--plugin", "http", "--http-keepalive=30"),
    Kind("PHP-FPM behind nginx", start_fpm),
    Kind("Symfony on PHP-FPM", start_symfony),
)
