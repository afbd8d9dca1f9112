"""The gate: the admission of one request. Pure.

The data plane, `/oauth2/auth` and `doorward explain` ask this package; nothing else decides.

    request           one request, as a value
    admission         the order of the decision; read this first
    referenced        other resources that a request names
    password_routes   password routes that are closed
    access            public routes, rules, the app's `require`, step-up
    programs          the same for access tokens in place of a session
    form_methods      a form that asks for another method or path
    emergency         break-glass
    shortcut          admission without a decision, for a session that met the route's rules before
    site              an app under one of its hosts, with its policy compiled
    decision          the possible decisions: values with a reason
    explanation       the steps of one decision in words
"""
