"""Saved settings, for the command and the page alike: what may be saved, what it means, how it is undone.

    proposal      a change of settings, judged before anything is sent or written
    login_proof   the login test that a change of a provider needs
    editor        reads and writes the record: save, confirm, roll back, reset
    meaning       what settings mean for people, in sentences
    report        what is in force and what was before, as rows
    listing       every value of the configuration with where it comes from, secrets masked

Nothing here prints, and nothing here knows of pages.
"""
