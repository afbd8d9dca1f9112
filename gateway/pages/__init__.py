"""Pages for people, and problem documents for programs.

    renderer   one template for every page; problem+json (RFC 9457) for programs

A refusal's `detail` stands in neither of them.
"""
