"""What is changed inside a response on its way: a style that hides things goes into a page, and its policy allows that one style.

style    the style element of an app, and a Content-Security-Policy that allows it
prolog   finds the place for it in a page that comes in pieces
coding   undoes gzip and deflate, bounded

Pure, without any connection: `proxy.edits` decides which responses are changed. Hiding is for people's eyes; that no password gets through
is the doors' care. So where a page cannot be read safely it stays as it is.

A style that the browser applies beats taking elements out: the browser knows every selector and reads the page as nobody else does, and
what must be found here is only the place where a style may stand.
"""
