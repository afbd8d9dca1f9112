"""One model for each section of the file. The attribute names are the YAML keys.

`config/gateway.example.yaml` explains every key.

    app               one entry of `apps`
    bearer            an app's `bearer`
    openid            `openid` and the provider settings
    directory         `directory`, for each kind
    directory_http    `directory.kind: http`
    redis             `redis`
    hand_off          an app's `hand_off`
    password_rules    an app's `password_routes`
    responses         an app's `responses`
    pages             `pages`, and an app's `pages`
    console           `console`
    fields            the annotated types that the sections are made of
"""
