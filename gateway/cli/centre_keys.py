"""The centre's keys beside a configuration that we write, and what the gateway's file says of them."""

from __future__ import annotations

from pathlib import Path

CENTRE, COMMANDS = "centre.jwk", "commands.jwk"

CENTRAL_TABLE = (
    f'[keys]\ncentre = "{CENTRE}"       # signs acknowledgements and requests\ncommands = "{COMMANDS}"   # signs orders\n'
)


def centre_keys(folder: Path) -> str:
    """Makes the keys that are missing in a folder; gives the [[uplink_key]] tables of all of them. BadKey, OSError."""
    from gateway.bootstrap.new_keys import write_new_key
    from gateway.central.keys import load
    from protocols.uplink.signing import x_of

    tables = []
    for name, kid, rest in (
        (CENTRE, "centre-1", 'role = "centre"               # acknowledges, and asks for what is missing'),
        (COMMANDS, "office-1", 'role = "commands"\nverbs = ["*"]                # or only some: ["restore", "read"]'),
    ):
        if not (folder / name).exists():
            write_new_key(folder / name, kid)
        signer = load(folder / name)
        tables.append(f'[[uplink_key]]\nkid = "{signer.kid}"\npublic = "{x_of(signer.key)}"\n{rest}\n')
    return "\n".join(tables)
