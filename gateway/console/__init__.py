"""The console: the pages for the people who run the gateway. An application behind the gate, like any other, in a process of its own.

    app           the aiohttp application: who may ask, which page answers, the one place where a refusal becomes a response
    assertion     the operator, from the signed assertion and from nothing else
    rights        the roles, by the same rules as the gate's
    csrf          the token of each form
    request       one request, as a page reads it
    page          what a page is made of
    probe_run     the one probe that may run in this process
    check_up_run  the one check-up that may run in this process
    live          pages that renew themselves while they are open
    charts        plots as SVG
    rendering     the frame around every page, its style and its header fields; JSON for programs
    registry      all pages, in the order of the menu
    pages         one module for each page

How a page is added: one module in `pages/` with a `Page` (its path, title, template and handlers), one template in `templates/` that
extends `frame.html`, and one line in `registry`. A handler takes a `ConsoleRequest` and the `ConsoleParts` and returns a `View`, whose data is
plain JSON: the template shows it, and `Accept: application/json` gets it as it is. The work itself stands in `gateway.operations`, for
commands and pages alike. A page that changes something lies below `/console/act/` (role `act`) or `/console/settings/edit/` (role `settings`),
so that the gate asks for that role and a fresh sign-in; its GET shows what will happen, its POST does it, with the form's token (`csrf`).
Such a page is reached by a link, not by a form: the gate may redirect its GET to the provider, and the page's policy (`form-action`) allows
that for the configured addresses of providers only.
"""
