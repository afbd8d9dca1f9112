"""Real application servers behind a real Doorward process: strangers attack, an honest client beside them is served right.

`make e2e` runs the servers that pip, npm and two small Debian packages provide (`tests/e2e/test_servers.py`); `make servers` runs those and what
else Debian has (`test_servers.py` here), with more requests each.

    cases      the attacks and the honest client, for whatever server stands behind the door
    crowd      the attack of many clients at once, and who got whose answer
    wire       a client that sends bytes as they are given
    door       one server, one door before it, a provider to sign in at
    small      the servers of pip and npm, `php -S`, nginx with WebDAV
    debian     Ruby, Java, uWSGI and PHP of the distribution
    test_readings   the table of readings beside what these servers route
    needs      what `make servers` installs
    apps/      the application, once for each way to write one

The application is the same everywhere. It says what its server made of a request, one `name=value` a line: `route` (admin, login, token,
records, plain), `method`, `uri` (the path as routed), `seen` (each field or CGI variable that it was given, in hexadecimal digits), `body` (in
hexadecimal digits). Whatever gets to admin, to login, to a password grant, or to a change of records is appended to the file `reached`, one
line each: what an attacker achieved is seen there, whatever became of the answer. Below /assets/ it also has `pay` (a stored file whose bytes
are a whole HTTP response), `large`, `cached` (with an ETag), `empty` (204) and `kept` (304), both followed by bytes where the server lets an
application do that, and `ws` (a WebSocket that echoes, where the server has them).
"""

import pytest

pytest.register_assert_rewrite("tests.servers.cases")
