"""The check-up: one line for each part of a set-up, with its state, what that means, and what to do.

    line           a line and its state (pure)
    report         the last one, kept in Redis for the console
    examination    all lines of a set-up
    dependencies   what `doctor` and `check --online` both ask, as lines
    provider       the provider's clock, and the addresses to register there
    front          what browsers get at the public address: the door, its cookie, its scheme, its certificate
    store          how Redis keeps what is written, and the age of the key ring
    directory      what the directory's credentials may do, as far as reading shows it
    bypass         whether an upstream can be reached around the door
    doors          a short probe of the password routes and access rules
    machine        the running gateway, its file descriptors, the disk, the certificates' files

Nothing is changed: what is written is Redis keys that expire, and events of sign-ins that begin and go nowhere.
"""
