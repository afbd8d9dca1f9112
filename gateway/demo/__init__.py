"""The demo: everything that stands around Doorward, so that the whole product runs on one machine.

run             `doorward demo`: starts all of it and ends all of it
settings        the ports, and the configuration that Doorward gets
gateway_process Doorward as a child process
welcome         what is printed
people          who can sign in
portal          the sample members portal (its pages, its API), which believes the identity headers
dashboard       the sample dashboard, beside the same bookings
own_login       the password doors of both, which the gateway keeps shut
told, visitor   which headers arrived, and who that makes
bookings, harbour, pages, listener
provider/       a small OpenID Provider with a login page
nexudus_stub    a directory API, with faults for tests
"""
