"""One call to a directory's API.

calls     bounded in time and size, patient with throttling, never redirected; writes that are held back
answer    a complete answer
budget    what all workers together may ask
breaker   when one worker stops asking
"""
