"""Changes responses on their way: inserts a style that hides elements, allows it in the page's policy, and drops cookies.

    rewriter      the app filter of `responses`
    style         the style for the selectors of `responses.hide`, and the policies that must allow it
    prolog        inserts a style at the start of a page that arrives in pieces
    coding        decodes a content coding piece by piece
    cookie_names  recognises cookies of the upstream by name (pure)

An app has the filter when `responses` hides elements or drops cookies.
"""
