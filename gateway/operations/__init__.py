"""The work of the commands; a command reads its arguments and prints.

    explain                       the gate's decision on one request
    sessions                      what may be shown of sessions, pages of them, and their end
    break_glass                   what an opening may be, what is open, and its end
    check                         each dependency of the gateway, checked once
    claim_doubts                  what is doubtful about the mapped claims of a provider
    client_authentication_trial   the trial of our client authentication at a provider
    figures                       what the fleet counted in a span of time
    login_test                    a login test: its link, and the whole story
    login_checks                  the checks of a sign-in, and what mends each
    provisioning                  what a sign-in would do in the directory
    admin_listener                what the admin listener of a running gateway says
    doctor                        the whole set-up, examined line by line: what each means and what to do
    certificates                  when the certificates of ours end
    settings                      saved settings: what may be saved, what it means, how it is undone
    reload                        SIGHUP to a running gateway, and its result
    rule_hits                     how often each password rule refused a request
    probe                         sends every spelling of every password rule to a running gateway

Nothing here prints or exits; a command does that.
"""
