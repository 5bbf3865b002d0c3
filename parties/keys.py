"""CURVE key files: one pair of long-term keys a party, in the certificate format of ZeroMQ.

`NAME.public` may be shown to anyone and is what the other parties put on their list; `NAME.secret` holds both
keys, is readable by its owner only and never leaves the machine.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from parties.errors import ConfigError, InsecureRefused

KEY_BYTES = 32
_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_Z85_VALUE = {letter: value for value, letter in enumerate(_Z85)}
_MAX_FILE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A party's long-term keys, each 40 characters of Z85. The secret is kept out of `repr`."""

    public: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> KeyPair:
        """A fresh pair from the operating system's randomness."""
        secret = X25519PrivateKey.generate().private_bytes_raw()
        return cls(_public_of(secret), z85_encode(secret))


def new_keypair(folder: Path, name: str) -> KeyPair:
    """Makes a fresh pair and writes `NAME.public` and `NAME.secret` (mode 0600) into a folder.

    The folder is made where it is missing (mode 0700). Nothing is ever overwritten.

    Raises:
        ConfigError: one of the files exists, the name is not a plain file name, or writing failed.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ConfigError(f"a key's name is made of letters, digits, '_', '.' and '-', got {name!r}")
    pair = KeyPair.generate()
    public, secret = folder / f"{name}.public", folder / f"{name}.secret"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (public, secret):
            if path.exists():
                raise ConfigError(f"{path} exists; keys are never overwritten")
        _write_new(secret, _certificate("secret; keep it to yourself", pair.public, pair.secret), 0o600)
        try:
            _write_new(public, _certificate("public; give it to the other parties", pair.public), 0o644)
        except OSError:
            with contextlib.suppress(OSError):
                secret.unlink()
            raise
    except OSError as error:
        raise ConfigError(f"cannot write keys to {folder}: {error.strerror}") from error
    return pair


def load_public(path: Path) -> str:
    """The public key in a certificate file (`NAME.public`; a secret file holds one too), as Z85.

    Raises:
        ConfigError: the file is missing, unreadable or holds no valid public key.
    """
    return _key_in(_read(path), "public-key", path)


def load_secret(path: Path) -> KeyPair:
    """The pair in a secret certificate file (`NAME.secret`).

    Raises:
        ConfigError: the file is missing, unreadable, readable by others than its owner, without valid keys,
            or its public key does not belong to its secret key. A credential of systemd may look readable by
            a group, which its access list makes it.
    """
    text = _read(path)
    if os.name == "posix":
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (0o037 if _is_credential(path) else 0o077):
            raise ConfigError(f"{path} is open to other users (mode {mode:04o}); run: chmod 600 {path}")
    pair = KeyPair(_key_in(text, "public-key", path), _key_in(text, "secret-key", path))
    if _public_of(z85_decode(pair.secret)) != pair.public:
        raise ConfigError(f"{path}: the public key does not belong to the secret key")
    return pair


def _is_credential(path: Path) -> bool:
    """Whether a service manager put the file there for this process alone, in a folder closed to others.

    systemd lets the service's user read it by an access list, which shows as a group that may read.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or path.absolute().parent != Path(folder):
        return False
    above = path.absolute().parent.stat()
    return stat.S_IMODE(above.st_mode) & 0o007 == 0 and path.stat().st_uid in (0, os.geteuid())


def z85_encode(raw: bytes) -> str:
    """Bytes, a multiple of four, as Z85 text: five letters for four bytes."""
    assert len(raw) % 4 == 0
    letters: list[str] = []
    for start in range(0, len(raw), 4):
        value = int.from_bytes(raw[start : start + 4], "big")
        letters += [_Z85[value // 85**power % 85] for power in (4, 3, 2, 1, 0)]
    return "".join(letters)


def z85_decode(text: str) -> bytes:
    """Bytes of Z85 text; raises ConfigError for anything else."""
    raw = bytearray()
    for start in range(0, len(text), 5):
        group = text[start : start + 5]
        if len(group) != 5 or any(letter not in _Z85_VALUE for letter in group):
            raise ConfigError("a key is 40 letters of Z85")
        value = sum(
            _Z85_VALUE[letter] * 85**power for letter, power in zip(group, (4, 3, 2, 1, 0), strict=True)
        )
        if value >= 1 << 32:
            raise ConfigError("a key is 40 letters of Z85")
        raw += value.to_bytes(4, "big")
    return bytes(raw)


def check_key(text: str, what: str) -> str:
    """The key itself where it is 32 bytes in Z85; raises ConfigError that says what it is and its length."""
    try:
        valid = len(z85_decode(text)) == KEY_BYTES
    except ConfigError:
        valid = False
    if not valid:
        raise ConfigError(f"{what}: expected 40 letters of Z85, got {len(text)} letters that are no key")
    return text


def require_keys(keys: KeyPair | None, allow_insecure: bool) -> None:
    """Passes where there are valid keys, or none and that was explicitly allowed.

    Raises:
        InsecureRefused: no keys, and not explicitly allowed.
        ConfigError: malformed keys.
    """
    if keys is None and not allow_insecure:
        raise InsecureRefused(
            "no keys: make some (mpcinfer keys new), or explicitly allow an unencrypted connection"
        )
    if keys is not None:
        check_key(keys.public, "our public key")
        check_key(keys.secret, "our secret key")


def _public_of(secret: bytes) -> str:
    return z85_encode(X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw())


def _certificate(what: str, public: str, secret: str | None = None) -> str:
    lines = [f"#   ZeroMQ CURVE certificate of mpcinfer ({what})", "metadata", "curve"]
    lines.append(f'    public-key = "{public}"')
    if secret is not None:
        lines.append(f'    secret-key = "{secret}"')
    return "\n".join(lines) + "\n"


def _write_new(path: Path, text: str, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a key file: not text") from None


def _key_in(text: str, field_name: str, path: Path) -> str:
    found = re.search(rf'^\s*{field_name}\s*=\s*"([^"\n]*)"', text, re.MULTILINE)
    if found is None:
        raise ConfigError(f"{path} holds no {field_name}")
    return check_key(found.group(1), f"{path}: {field_name}")
