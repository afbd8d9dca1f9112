"""The one configuration file: read, checked, and made into a `Config`.

A value is checked by itself (`values`, `addresses`), then in its section (`sections`), then against other keys (`checks`).

    loader         from a file to a Config, or to all of its problems
    schema         the root model, and the sections as other packages import them
    sections       one model for each section of the file
    reading        from text to plain data, with the problems found on the way
    checks         keys that need or exclude each other, and what is unsafe
    values         text forms of single values: durations, sizes, routes, networks, header templates
    addresses      listeners, hosts, upstreams, URLs
    redis_url      `redis.url`
    authorization_parameters   parameters that an operator adds to the authorization request
    claim_path     where a provider's documents have a claim
    placeholders   what placeholders may name, and the directory's texts with them
    field_names    the tables of header field names
    schemes        authentication schemes, and which of them carry a password
    cors           `cors_preflight`
    client_keys    the private keys by which we authenticate at a provider
    providers      the providers by name, and which of them an app offers
    console        the console as one more app
    overlay        saved settings over the file
    toggles        what the settings of the "Integrating OpenID" page mean for an app
"""
