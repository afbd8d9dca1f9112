"""WordPress as Debian has it: PHP-FPM behind nginx, with a MariaDB of its own. A plug-in writes down what became of passwords and accounts."""

import re
import shutil
import subprocess
import urllib.parse
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from tests.e2e.needs import required
from tests.e2e.processes import Command, Program
from tests.servers.debian import fpm
from tests.servers.door import Kind

PASSWORD = "Old-Password-1"
CORE = Path("/usr/share/wordpress")

CONFIG = """<?php
define('DB_NAME', 'wp'); define('DB_USER', 'wp'); define('DB_PASSWORD', 'wp'); define('DB_CHARSET', 'utf8mb4');
define('DB_HOST', 'localhost:{socket}');
define('WP_HTTP_BLOCK_EXTERNAL', true); define('DISABLE_WP_CRON', true); define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_HOME', 'http://' . $_SERVER['HTTP_HOST']); define('WP_SITEURL', 'http://' . $_SERVER['HTTP_HOST']);
define('WP_ENVIRONMENT_TYPE', 'local');
foreach (array('AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE') as $each) {{ define($each . '_KEY', $each); define($each . '_SALT', $each); }}
$table_prefix = 'wp_';
if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');
require_once ABSPATH . 'wp-settings.php';
"""

PLUGIN = """<?php
function doorward_reached($what) {{ file_put_contents('{reached}', $what . "\\n", FILE_APPEND | LOCK_EX); }}
add_filter('authenticate', function ($user, $name, $password) {{
  if ((string) $password !== '') doorward_reached('a password was tried');
  return $user;
}}, 1, 3);
add_action('profile_update', function ($id, $old) {{
  if (get_userdata($id)->user_pass !== $old->user_pass) doorward_reached('a password was changed');
}}, 10, 2);
add_action('password_reset', function () {{ doorward_reached('a password was reset'); }});
add_action('login_init', function () {{
  if (isset($_GET['key']) && isset($_GET['login'])) doorward_reached('a reset link was opened');
}});
add_action('retrieve_password', function () {{ doorward_reached('a password reset was started'); }});
add_action('user_register', function () {{ doorward_reached('an account was made'); }});
add_action('wp_create_application_password', function () {{ doorward_reached('an application password was made'); }});
add_action('wp_authorize_application_password_form', function () {{ doorward_reached('a page for an application password was shown'); }});
add_filter('pre_wp_mail', '__return_true');
"""


def start(folder: Path, port: int) -> list[Program]:
    """An installed site with the administrator `admin`, pretty permalinks, and registration open."""
    data, socket = folder / "db", folder / "db" / "mariadb.sock"
    data.mkdir()
    shutil.chown(data, "mysql")
    install = [required("mariadb-install-db"), "--no-defaults", "--user=mysql", f"--datadir={data}"]
    install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run([str(word) for word in install], check=True, capture_output=True)
    server: Command = [required("mariadbd"), "--no-defaults", "--user=mysql", f"--datadir={data}", f"--socket={socket}"]
    running = Program([*server, "--skip-networking", f"--pid-file={data}/pid"], folder / "mariadb.log")
    running.wait_until(socket.exists, seconds=60)
    _sql(socket, "create database wp; create user wp@localhost identified by 'wp'; grant all on wp.* to wp@localhost;")
    root = folder / "root"
    shutil.copytree(CORE, root)
    (root / "wp-config.php").unlink()
    (root / "wp-config.php").write_text(CONFIG.format(socket=socket))
    (root / "wp-content" / "mu-plugins").mkdir()
    (root / "wp-content" / "mu-plugins" / "visited.php").write_text(PLUGIN.format(reached=folder / "reached"))
    theme = root / "wp-content" / "themes" / "plain"  # Debian's are packages of their own
    theme.mkdir()
    (theme / "style.css").write_text("/* Theme Name: plain */")
    (theme / "index.php").write_text(
        "<!doctype html><title>plain</title><?php while (have_posts()) { the_post(); the_content(); }"
    )
    programs = [running, *fpm(folder, port, root)]
    form = {
        "weblog_title": "t", "user_name": "admin", "admin_password": PASSWORD, "admin_password2": PASSWORD,
        "admin_email": "admin@example.com", "blog_public": "0", "pw_weak": "1",
    }  # fmt: skip
    answer = ask(port, f"127.0.0.1:{port}", "POST", "/wp-admin/install.php?step=2", form=form)
    assert answer.status == 200, answer.status
    options = {"permalink_structure": "/%postname%/", "rewrite_rules": "", "users_can_register": "1"}
    options |= {"template": "plain", "stylesheet": "plain"}
    for name, value in options.items():
        _sql(socket, f"use wp; update wp_options set option_value='{value}' where option_name='{name}';")
    (folder / "reached").write_text("")
    return programs


def _sql(socket: Path, text: str) -> None:
    command = [required("mariadb"), "--no-defaults", f"--socket={socket}", "-uroot", "-e", text]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


WORDPRESS = Kind("WordPress", start, pack="wordpress")


class Answer:
    """A whole answer; the cookies that it sets."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.text = response.read().decode("utf-8", "replace")
        self.cookies = [value.partition(";")[0] for value in response.headers.get_all("Set-Cookie") or ()]


def ask(
    port: int,
    host: str,
    method: str,
    target: str,
    *,
    form: dict[str, str] | None = None,
    body: bytes = b"",
    fields: dict[str, str] | None = None,
) -> Answer:
    """One request to 127.0.0.1:`port`."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Host": host, **(fields or {})}
    if form is not None:
        body = urllib.parse.urlencode(form).encode()
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    try:
        connection.request(method, target, body or None, headers)
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Administrator:
    """A person who is signed in at the site itself, under a host. Signs in past the door."""

    def __init__(self, port: int, host: str) -> None:
        self.port, self.host = port, host
        form = {"log": "admin", "pwd": PASSWORD, "testcookie": "1"}
        test = {"Cookie": "wordpress_test_cookie=WP%20Cookie%20check"}
        answer = ask(port, host, "POST", "/wp-login.php", form=form, fields=test)
        assert answer.status == 302, (answer.status, answer.text[:500])
        self.cookie = "; ".join(answer.cookies)
        self.nonce = self._get("/wp-admin/admin-ajax.php?action=rest-nonce").strip()

    def _get(self, target: str) -> str:
        return ask(self.port, self.host, "GET", target, fields={"Cookie": self.cookie}).text

    def form_nonce(self, page: str, name: str = "_wpnonce") -> str:
        """A hidden field of a page's form."""
        found = re.search(rf'name="{name}"[^>]* value="([0-9a-f]+)"', self._get(page))
        assert found is not None, (page, name)
        return found[1]

    @property
    def fields(self) -> dict[str, str]:
        return {"Cookie": self.cookie, "X-WP-Nonce": self.nonce}
