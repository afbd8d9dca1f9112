"""One call to a directory's API.

    calls      bounded in time and size, repeated when throttled, never redirected; the dry run
    answer     a complete response
    budget     the calls of all workers together, counted
    breaker    a pause after failures, in one worker

A call without a response is a `DirectoryUnavailable`; the directory that made the call interprets a response.
"""
