"""The gate: one request's admission, decided here and nowhere else. Pure.

admission     the order of the decision
decision      what it comes to: values with a reason
site          an app under one of its hosts, with its policy compiled
explanation   the steps of one decision in words
"""
