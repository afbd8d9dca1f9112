"""Processes: the parent, its workers, and what they are made of.

composition   a Config in, a running worker out
worker        the worker process
child         one worker, as the parent sees it
supervisor    the parent: sockets, workers, signals
sockets       the sockets that the parent opens and the workers serve
tls           the listener's TLS
health        what a worker knows of what it depends on
readiness     whether the whole gateway is ready (pure)
admin         `/ping`, `/ready`, `/metrics`
"""
