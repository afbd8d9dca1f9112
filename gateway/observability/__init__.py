"""What operators can see: logs, events, numbers.

logging      ordinary logs, one JSON line each
events       security events: their names, and the one writer
access_log   one line a request, written in batches
counters     plain integers, published to the parent process
"""
