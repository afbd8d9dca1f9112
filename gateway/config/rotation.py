"""What a change of `keys` does to people and applications, said when a running gateway reads it.

Pure. The steps that hurt nobody: the new key last; then first; then without the old one (deploy/guides/sessions.md).
"""

from collections.abc import Iterator, Sequence

from pydantic import SecretStr


def rotation_warnings(old: Sequence[SecretStr], new: Sequence[SecretStr]) -> Iterator[str]:
    """One line for each thing that goes wrong; nothing after a step that hurts nobody. No key is in them."""
    before, after = [key.get_secret_value() for key in old], [key.get_secret_value() for key in new]
    if not before or not after:
        return
    if after[0] not in before:
        yield (
            "keys[0] is new: gateways that do not have it yet see no session in what it encrypts, and applications that keep the "
            "published keys refuse what it signs; a new key goes last first, and to the front when every gateway has it"
        )
    if before[0] not in after:
        yield (
            "the key that encrypted and signed until now is gone from keys: its sessions have ended, and assertions of the last "
            "five minutes cannot be verified any more; an old key stays behind the new one until `doorward keys status` counts 0 for it"
        )
