"""Checks of a whole configuration. Each yields findings or warnings; none raises.

No value that may be a secret is in a finding.

    consistency             keys that need, exclude or repeat each other
    bearer                  findings about the access tokens of programs
    requirements            what a `require` restricts
    console                 findings about the `console` section
    client_authentication   the same for secrets, keys and profile of a provider
    directory_rules         the same for the `directory` section
    page_texts              texts of pages
    safety                  what is refused unless it is allowed by name, and what is logged as a warning at every start
    files                   certificates, keys and folders that a configuration names
"""
