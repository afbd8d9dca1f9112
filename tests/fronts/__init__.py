"""Proxies that Debian does not have, as `make fronts` builds and fetches them, by hand: it takes long the first time.

build         Traefik, from the Go module proxy
traefik/      its go.mod, and what stands in for two modules
test_fronts   the cases of tests/e2e/asking.py and tests/e2e/in_front.py for them
"""
