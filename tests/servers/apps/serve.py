"""Runs the application under waitress, cheroot or werkzeug: `serve.py KIND PORT`."""

import sys

from visited import wsgi


def main(kind: str, port: int) -> None:
    if kind == "waitress":
        import waitress

        waitress.serve(wsgi, host="127.0.0.1", port=port, threads=8)
    elif kind == "cheroot":
        from cheroot.wsgi import Server

        Server(("127.0.0.1", port), wsgi, numthreads=16).start()
    else:
        from werkzeug.serving import WSGIRequestHandler, run_simple

        class Keeping(WSGIRequestHandler):
            """Connections are kept, as those who run it so have it; it logs nothing."""

            protocol_version = "HTTP/1.1"

            def log(self, type: str, message: str, *args: object) -> None:
                del type, message, args

        run_simple("127.0.0.1", port, wsgi, threaded=True, request_handler=Keeping)


main(sys.argv[1], int(sys.argv[2]))
