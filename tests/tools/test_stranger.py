"""tools/stranger.py: small commands instead of clones and installations."""

import os
import select
import sys

import pytest

from tools.stranger import REFUSED, FailedError, Stranger, last_json, network_refused, plain


@pytest.fixture
def stranger(tmp_path):
    """Return a person in an empty folder."""
    return Stranger(tmp_path, os.environ)


def test_the_environment_is_what_reaches_packages_and_an_empty_home(tmp_path):
    environ = {"PATH": "/bin", "https_proxy": "p", "PIP_INDEX_URL": "i", "SSL_CERT_FILE": "c", "HOME": "h"}
    others = {"PYTHONPATH": "x", "VIRTUAL_ENV": "x", "ZFOO_NODE__ID": "x", "PIP_TARGET": "x", "UV_CACHE_DIR": "x"}
    env = Stranger(tmp_path, environ | others).env
    assert env == environ | {"HOME": str(tmp_path / "home")}
    assert list((tmp_path / "home").iterdir()) == []


def test_a_command_returns_what_it_prints(stranger, tmp_path):
    assert stranger.run("sh", "-c", "echo out; echo err >&2; pwd; echo $MORE", env={"MORE": "7"}) == (
        f"out\n{tmp_path}\n7\n"
    )


def test_a_failing_command_shows_itself_and_all_it_said(stranger):
    with pytest.raises(FailedError) as caught:
        stranger.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert str(caught.value) == "$ sh -c echo out; echo err >&2; exit 3\nout\nerr\n\n... ended with 3"


def test_a_program_that_is_not_there_fails_the_step(stranger):
    with pytest.raises(FailedError, match="no_such_program"):
        stranger.run("no_such_program")


def test_at_the_deadline_the_command_ends_with_all_it_started(tmp_path):
    stranger = Stranger(tmp_path, os.environ, limit_s=0.2)
    os.mkfifo(tmp_path / "held")
    reader = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(FailedError, match="was still running"):
            stranger.run("sh", "-c", "sleep 50 >held & wait")
        assert select.select([reader], [], [], 5)[0], "the command's child runs on and holds the pipe"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


@pytest.mark.parametrize("text", ["sortedcontainers_stubs>=2.4", "Sortedcontainers.Stubs; x", "sortedcontainers-stubs"])
def test_names_of_distributions_are_compared_in_one_spelling(text):
    assert plain(text) == "sortedcontainers-stubs"


def test_the_last_line_is_read_as_json():
    assert last_json('{"verdict": "wrong"}\n{"verdict": "right"}\n') == {"verdict": "right"}
    for text in ("", "no json", "[]"):
        with pytest.raises(FailedError, match="no JSON object"):
            last_json(text)


def test_without_unshare_the_network_is_refused_by_settings(tmp_path):
    (tmp_path / "bin").mkdir()
    stranger = Stranger(tmp_path, {"PATH": str(tmp_path / "bin")})
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    before, env, how = network_refused(stranger)
    assert (before, env) == ([], REFUSED)
    assert "unshare does not work here" in how


def test_with_unshare_there_is_nothing_but_loopback(stranger):
    before, _, how = network_refused(stranger)
    if not before:
        pytest.skip(how)
    program = "import socket; print([name for _, name in socket.if_nameindex()])"
    assert stranger.run(*before, sys.executable, "-c", program) == "['lo']\n"
