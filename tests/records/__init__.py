"""What releases left in Redis and in browsers, as they wrote it: `release-*.json`, written by `python -m tests.records NAME` with that release's code.

Whoever changes how something is stored must still read these; a file is never written anew.
"""
