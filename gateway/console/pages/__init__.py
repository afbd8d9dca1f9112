"""One module for each page of the console: its handlers, and the `Page` that `registry` lists. A page alone may be a small module.

    overview   what the gateway is doing now

What a page shows is made by `gateway.operations`, `gateway.config` or `gateway.gate`; a page reads its parameters and returns data.
"""
