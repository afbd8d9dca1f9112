"""The command line: arguments in, tables out.

    main               every command of `doorward`, put together
    run                `run`, `reload`, `check`, `demo`
    explain            `explain`: the gate's decision on one request
    doctor             `doctor`: every part of a set-up, one line each
    probe              `probe`: sends every spelling of every password rule to a running gateway
    login_test         `login-test`: a sign-in that issues no session
    sessions           `sessions list | show | revoke`
    session_tables     sessions as a table, JSON lines, CSV
    token_revocation   revokes the tokens of ended sessions at their providers
    provisioning       `provision`, `unlink`, `reconcile`
    break_glass        `break-glass open | status | close`
    settings           `settings show | history | set | confirm | rollback | reset`
    keys               `keys new`, and the group `keys`
    key_status         `keys status`
    client_keys        `keys public`
    lazy               a group of commands that are imported when they are used
    printing           the CONFIG argument, the two consoles, a configuration or all of its problems

Each module has plain functions with typer's annotations, or a typer app of its own where a command has sub-commands. All output goes
through the two consoles of `printing`; a command that found something wrong ends with an exit status, never with a traceback.
"""
