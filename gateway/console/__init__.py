"""The console: the pages for the people who run the gateway. An application behind the gate, like any other, in a process of its own.

    app          the aiohttp application: who may ask, which page answers, the one place where a refusal becomes a response
    assertion    the operator, from the signed assertion and from nothing else
    rights       the roles, by the same rules as the gate's
    csrf         the token of each form
    request      one request, as a page reads it
    page         what a page is made of
    rendering    the frame around every page, its style and its header fields; JSON for programs
    registry     all pages, in the order of the menu
    pages        one module for each page

How a page is added: one module in `pages/` with a `Page` (its path, title, template and handlers), one template in `templates/` that
extends `frame.html`, and one line in `registry`. A handler takes a `ConsoleRequest` and the `ConsoleParts` and returns a `View`, whose data is
plain JSON: the template shows it, and `Accept: application/json` gets it as it is. The work itself stands in `gateway.operations`, for
commands and pages alike. A page that changes something lies below `/console/act/` (role `act`) or `/console/settings/edit/` (role `settings`),
so that the gate asks for that role and a fresh sign-in; its GET shows what will happen, its POST does it, with the form's token (`csrf`).
A form that leads to such a page by GET is a link instead: the page's policy lets no form be redirected to the provider.
"""
