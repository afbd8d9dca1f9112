"""The Directory over each kind of API.

    nexudus            Nexudus: a person's record among several
    nexudus_api        authorised calls to Nexudus
    nexudus_token      the service account's token
    nexudus_records    the lists and records of Nexudus, parsed
    scim               SCIM 2.0
    scim_records       the lists, Users and errors of SCIM, parsed
    http_api           an API that the configuration describes

No row of a list counts as the person's because a filter returned it: the address, or the link, is compared.
"""
