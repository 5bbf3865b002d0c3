"""Key files: what 0MQ can read, and everything that is refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq
import zmq.auth
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from parties.errors import ConfigError, InsecureRefused
from parties.keys import (
    KeyPair,
    check_key,
    load_public,
    load_secret,
    new_keypair,
    require_keys,
    z85_decode,
    z85_encode,
)


def test_what_was_made_can_be_loaded(tmp_path: Path) -> None:
    pair = new_keypair(tmp_path / "keys", "server")
    assert load_secret(tmp_path / "keys" / "server.secret") == pair
    assert load_public(tmp_path / "keys" / "server.public") == pair.public
    assert load_public(tmp_path / "keys" / "server.secret") == pair.public
    assert pair.secret not in (tmp_path / "keys" / "server.public").read_text()


def test_zeromq_reads_the_files_and_agrees_on_the_keys(tmp_path: Path) -> None:
    pair = new_keypair(tmp_path, "client")
    public, secret = zmq.auth.load_certificate(tmp_path / "client.secret")
    assert (public.decode(), (secret or b"").decode()) == (pair.public, pair.secret)
    assert zmq.curve_public(pair.secret.encode()).decode() == pair.public


def test_modes(tmp_path: Path) -> None:
    new_keypair(tmp_path, "server")
    assert stat.S_IMODE((tmp_path / "server.secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("existing", ["server.secret", "server.public"])
def test_nothing_is_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(ConfigError, match=f"{existing} exists"):
        new_keypair(tmp_path, "server")
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"


@pytest.mark.parametrize("name", ["", "../server", "a/b", ".hidden", "a b"])
def test_names_that_are_no_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="key's name"):
        new_keypair(tmp_path, name)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(ConfigError, match="cannot write keys"):
        new_keypair(tmp_path / "keys", "server")


def test_missing_file(tmp_path: Path) -> None:
    for load in (load_public, load_secret):
        with pytest.raises(ConfigError, match=r"nobody\.secret"):
            load(tmp_path / "nobody.secret")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_secret_that_others_can_read(tmp_path: Path, mode: int) -> None:
    new_keypair(tmp_path, "server")
    (tmp_path / "server.secret").chmod(mode)
    with pytest.raises(ConfigError, match=r"server.secret is open to other users.*chmod 600"):
        load_secret(tmp_path / "server.secret")


@pytest.mark.parametrize(
    ("mode", "folder_mode", "elsewhere", "taken"),
    [
        (0o440, 0o500, False, True),
        (0o400, 0o500, False, True),
        (0o460, 0o500, False, False),
        (0o444, 0o500, False, False),
        (0o440, 0o505, False, False),
        (0o440, 0o500, True, False),
    ],
)
def test_a_credential_of_systemd(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    folder_mode: int,
    elsewhere: bool,
    taken: bool,
) -> None:
    """Its access list looks like a group that may read; nothing else is let through for it."""
    pair = new_keypair(tmp_path / "given", "server")
    (tmp_path / "given" / "server.secret").chmod(mode)
    (tmp_path / "given").chmod(folder_mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / ("other" if elsewhere else "given")))
    if taken:
        assert load_secret(tmp_path / "given" / "server.secret") == pair
    else:
        with pytest.raises(ConfigError, match="open to other users"):
            load_secret(tmp_path / "given" / "server.secret")
    (tmp_path / "given").chmod(0o700)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no public-key"),
        (b"\xff\xfe\x00", "not text"),
        (b'curve\n    public-key = "short"\n', "40 letters"),
        (b'curve\n    public-key = "' + b"~" * 40 + b'"\n', "40 letters"),
        (b'curve\n    public-key = "' + b"#" * 40 + b'"\n', "40 letters"),
    ],
)
def test_malformed_files(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "x.secret"
    path.write_bytes(content)
    path.chmod(0o600)
    for load in (load_public, load_secret):
        with pytest.raises(ConfigError, match=complaint) as raised:
            load(path)
        assert "x.secret" in str(raised.value)


def test_a_public_file_is_no_secret_file(tmp_path: Path) -> None:
    new_keypair(tmp_path, "server")
    (tmp_path / "server.public").chmod(0o600)
    with pytest.raises(ConfigError, match="holds no secret-key"):
        load_secret(tmp_path / "server.public")


def test_keys_that_do_not_belong_together(tmp_path: Path) -> None:
    one, other = new_keypair(tmp_path, "one"), KeyPair.generate()
    path = tmp_path / "one.secret"
    path.write_text(path.read_text().replace(one.public, other.public))
    with pytest.raises(ConfigError, match="does not belong"):
        load_secret(path)


def test_the_secret_is_not_in_repr_or_messages() -> None:
    pair = KeyPair.generate()
    assert pair.secret not in repr(pair)
    with pytest.raises(ConfigError) as raised:
        check_key(pair.secret + "x", "our secret key")
    assert pair.secret not in str(raised.value)


def test_no_keys_must_be_allowed() -> None:
    require_keys(None, allow_insecure=True)
    require_keys(KeyPair.generate(), allow_insecure=False)
    with pytest.raises(InsecureRefused):
        require_keys(None, allow_insecure=False)
    with pytest.raises(ConfigError, match="our secret key"):
        require_keys(KeyPair(KeyPair.generate().public, "no key"), allow_insecure=False)


@given(st.binary(max_size=64).filter(lambda raw: len(raw) % 4 == 0))
def test_z85_is_that_of_zeromq(raw: bytes) -> None:
    text = z85_encode(raw)
    assert text == z85.encode(raw).decode()
    assert z85_decode(text) == raw


@pytest.mark.parametrize("text", ["abcd", "a b c", "#####", "äöüäö"])
def test_no_z85(text: str) -> None:
    with pytest.raises(ConfigError):
        z85_decode(text)
