"""One module for each page of the console: its handlers, and the `Page` that `registry` lists. A page alone may be a small module.

    doors           password rules, break-glass, the last probe
    explain         what would happen to one request
    check_up        the last check-up, and a new one
    try_it          a login test, and its story
    sessions        who is signed in, one person, the end of sessions
    overview        what the gateway and its replicas are doing, and what they did
    events          what happened, as it comes
    settings        what is in force, the history, every other value with its source
    settings_edit   the changes of settings: the form, its review, confirming, rolling back

What a page shows is made by `gateway.operations`, `gateway.config` or `gateway.gate`; a page reads its parameters and returns data.
"""
