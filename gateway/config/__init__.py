"""The one file that an operator writes.

loader         from a file to a Config, or to every one of its problems
schema         the root of the configuration's shape; what other packages import
sections       one model for each section of the file
reading        from text to plain data, and what can be wrong on the way
checks         what must stand together, and what is unsafe
values         text forms of single values: durations, sizes, routes, networks, header templates
addresses      listeners, hosts, upstreams, URLs
redis_url      `redis.url`
placeholders   texts with placeholders
field_names    names of header fields that only gateways may send, and what an operator may let through
schemes        authentication schemes, and which of them carry a password
cors           `cors_preflight`
providers      which providers there are, and which of them an app offers
toggles        what the settings of the "Integrating OpenID" page come to
"""
