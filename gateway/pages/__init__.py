"""Pages for people, and problem documents for programs.

    renderer   one template for every page; problem+json (RFC 9457) for programs
    links      the ways on from a page
    theme      title, logo, colour, support link, languages and texts of an app's pages
    color      the colours beside the operator's one

A refusal's `detail` stands in neither of them.
"""
