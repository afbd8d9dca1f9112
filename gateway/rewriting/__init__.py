"""What is changed inside a response on its way: a style that hides things goes into a page, and its policy allows that one style.

rewriter      the filter of one app's `responses`
style         the style that hides what `responses.hide` names, and the policies that must allow it
prolog        puts a style at the start of a page that comes in pieces
coding        undoes a content coding piece by piece
cookie_names  cookies of the upstream, told apart by name (pure)
"""
