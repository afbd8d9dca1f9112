"""The languages of the pages that people read.

    message       a text that a page shows: its ID, its English, its values
    catalogue     the texts of one language, from `catalogues/*.po`
    negotiation   which language a browser asks for (RFC 9110, RFC 4647)

`catalogues/messages.pot` lists every message; `make messages` writes it from the source and merges it into the catalogues.
Logs, the command line and JSON are English.
"""
