"""What the Settings page and `doorward settings` save, over the `openid` section and `providers` of the file.

One sealed record in Redis holds all versions. Each parent process follows it, keeps a sealed copy in `redis.data_dir`, and gives its workers
the values of the newest version. A record that is missing, altered or older than the known one changes nothing and is replaced by the known one.

    record     the versions, which of them is in force, and the bytes of the record
    store      the record in Redis
    copy       the sealed copy on disk
    follower   what a parent process knows of the record, and does about it

Only a later revision, sealed with the key ring, changes settings.
"""
