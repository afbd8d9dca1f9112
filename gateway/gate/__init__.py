"""The gate: one request's admission, decided here and nowhere else. Pure.

request           one request at hand, as a value
admission         the order of the decision: the page to read first
referenced        other resources that a request names
password_routes   password routes that are closed
access            public routes, rules, the app's `require`, step-up
form_methods      a form that asks for another method or path
emergency         break-glass
shortcut          the one way past the decision, for a session that met the route's rules before
site              an app under one of its hosts, with its policy compiled
decision          what a decision comes to: values with a reason
explanation       the steps of one decision in words
"""
