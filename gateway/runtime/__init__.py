"""Processes: the parent, its workers, and what they are made of.

    composition                   the composition root of a worker
    worker                        the worker process
    child                         one child process, as the parent sees it
    console                       the console's process
    console_listener              the console's socket, and the process that serves it
    ended_openings                break-glass openings that ended, passed on among the workers
    generation                    the workers of one configuration, started again when they die
    ended_openings                break-glass openings that ended, passed on from worker to worker
    embedded_store                the embedded Valkey, started again when it dies
    settings_watch                the saved settings in the parent process
    supervisor                    the parent process: sockets, signals, reloads
    systemd                       sockets that are handed over, and states that are announced
    cores                         how many workers `workers: auto` means
    sockets                       the sockets that the parent opens and the workers serve
    tls                           the listener's TLS
    health                        the state of a worker's dependencies
    client_authentication_watch   the last result of the client authentication at each provider
    readiness                     whether the whole gateway is ready (pure)
    admin                         `/ping`, `/ready`, `/metrics`
    telemetry                     tells Redis for the console what this replica is and counted
    metrics                       what `/metrics` prints

A worker and the parent exchange JSON lines over a private socket.
"""
