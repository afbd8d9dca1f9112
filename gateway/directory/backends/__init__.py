"""The Directory over each kind of API.

nexudus           which of several records is the person's
nexudus_api       authorised calls
nexudus_token     the service account's token
nexudus_records   what the API's lists and records say
scim              SCIM 2.0
scim_records      what SCIM's lists, Users and errors say
http_api          an API that the configuration describes
"""
