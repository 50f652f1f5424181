"""The token of the loopback API: made once, for its owner alone, and refused when others could read it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from edge_agent.daemon.web.keys import TOKEN_NAME, Keys
from edge_agent.errors import StoreBroken

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes: the folder's rights count")


def test_the_token_is_made_once(home_of: Path) -> None:
    """The second program reads what the first one made; nothing else is left behind."""
    first, second = Keys.of_home(home_of), Keys.of_home(home_of)
    assert first.token == second.token
    assert len(first.token) >= 43  # 256 bits
    assert [path.name for path in home_of.iterdir()] == [TOKEN_NAME]


@posix
@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_only_its_owner_reads_it(home_of: Path, mask: int) -> None:
    """Its mode is 0600 whatever the umask says, also in a folder that a group shares."""
    home_of.chmod(0o770)
    before = os.umask(mask)
    try:
        Keys.of_home(home_of)
    finally:
        os.umask(before)
    assert stat.S_IMODE((home_of / TOKEN_NAME).stat().st_mode) == 0o600


def test_programs_that_begin_at_once_have_one_token(home_of: Path) -> None:
    """Of several that make it at the same moment the first one's stays."""
    start, found = threading.Barrier(8), []

    def read() -> None:
        start.wait()
        found.append(Keys.of_home(home_of).token)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in home_of.iterdir()] == [TOKEN_NAME]


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_token_that_others_can_read_is_refused(home_of: Path, mode: int) -> None:
    """It is said which file, why, and how to mend it."""
    Keys.of_home(home_of)
    (home_of / TOKEN_NAME).chmod(mode)
    with pytest.raises(StoreBroken, match="other users") as caught:
        Keys.of_home(home_of)
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 2000, "ünsafe".encode() * 10, b"a" * 42 + b" b"])
def test_what_is_no_token_is_refused(home_of: Path, content: bytes) -> None:
    """A token that was cut, or written by hand too short, opens nothing."""
    path = home_of / TOKEN_NAME
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StoreBroken, match="holds no token") as caught:
        Keys.of_home(home_of)
    assert "Stop edge-agent run, delete it" in caught.value.hint


@posix
def test_a_token_elsewhere_is_refused(home_of: Path) -> None:
    """A link to another file, or a folder in its place, is no token."""
    elsewhere = home_of / "elsewhere"
    elsewhere.write_text("a" * 43)
    elsewhere.chmod(0o600)
    (home_of / TOKEN_NAME).symlink_to(elsewhere)
    with pytest.raises(StoreBroken, match="can't be read"):
        Keys.of_home(home_of)


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root reads and writes everything")
def test_a_folder_that_takes_no_file_is_told(home_of: Path) -> None:
    """A home that this user may not write says so."""
    home_of.chmod(0o500)
    with pytest.raises(StoreBroken, match="can't be written"):
        Keys.of_home(home_of)


def test_the_pages_keys_are_not_the_token() -> None:
    """The page's key and session open nothing of a till, differ from each other, and change with the token."""
    one, other = Keys("a" * 43), Keys("b" * 43)
    secrets = {one.token, one.page_key(), one.session(), other.page_key(), other.session()}
    assert len(secrets) == 5
    assert one.is_token(one.token)
    assert not one.is_token(one.page_key())
    assert not one.is_session(one.page_key())
    assert not one.is_page_key(one.session())
    assert not one.is_token("é" * 43)


def test_a_deleted_token_is_made_anew(home_of: Path) -> None:
    """Deleting the file is how a token is changed: the new one opens, the old one does not."""
    old = Keys.of_home(home_of)
    (home_of / TOKEN_NAME).unlink()
    new = Keys.of_home(home_of)
    assert not new.is_token(old.token)
    assert not new.is_session(old.session())


def test_a_token_that_went_missing_is_written_again(home_of: Path) -> None:
    """A till that starts meanwhile is not locked out: the same token, for its owner alone; another one stays."""
    keys = Keys.of_home(home_of)
    path = home_of / TOKEN_NAME
    assert not keys.keep(home_of)
    path.unlink()
    assert keys.keep(home_of)
    assert Keys.of_home(home_of).token == keys.token
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"b" * 43)
    assert not keys.keep(home_of)
    assert path.read_bytes() == b"b" * 43


@posix
def test_it_is_not_waited_for(home_of: Path) -> None:
    """A pipe that somebody planted in its place is refused at once: the daemon's start does not hang on it."""
    os.mkfifo(home_of / TOKEN_NAME, 0o600)
    with pytest.raises(StoreBroken, match="holds no token"):
        Keys.of_home(home_of)
