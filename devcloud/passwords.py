"""The secrets of one devcloud: made once, kept in one file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Passwords:
    """What the services and the two users of a devcloud prove themselves with."""

    database: str
    admin: str
    demo: str
    heat: str
    heat_domain: str
    heat_encryption: str

    @classmethod
    def ensure(cls, file: Path) -> Passwords:
        """Return the passwords in a file, which is made (0600) with fresh ones when it isn't there."""
        if not file.exists():
            made = cls(**{field.name: secrets.token_hex(16) for field in fields(cls)})
            write_private(file, json.dumps(asdict(made), indent=1) + "\n")
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def write_private(file: Path, text: str) -> None:
    """Replace a file's text at once; only its owner may read it."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
