"""What operators see: logs, events, metrics.

No secret enters any of them: sessions appear by their public handle, paths without their query.

    logging      the shape of a line, ordinary logs, and the two streams of a process
    log_writer   writes lines without waiting for their reader
    events       security events: their names, and the one writer
    background   tasks that run as long as the process, and the errors that no caller handles
    access_log   one line for each request, written in batches
    redaction    e-mail addresses in logged texts, in any encoding
    counters     request counts and duration histograms, published to the parent process
"""
