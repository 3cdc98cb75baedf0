"""The tree of errors, as it is drawn and as it is; and what each error says."""

from __future__ import annotations

import inspect
import re

import pytest

import zfoo_py
from zfoo_py import errors
from zfoo_py.errors import (
    AskCycleError,
    AskTimeoutError,
    BackpressureError,
    BalancerError,
    CallError,
    ConfigError,
    DecodeError,
    EncodeError,
    InboxFullError,
    NoProviderError,
    NotReadyError,
    RemoteError,
    SessionClosedError,
    UnexpectedPacketError,
    ZfooError,
)

CLASSES = {name: getattr(errors, name) for name in errors.__all__}
# What a retry may rely on: True where the receiver can have run.
MAY_HAVE_RUN = {
    CallError: False,
    EncodeError: False,
    NoProviderError: False,
    BackpressureError: False,
    BalancerError: False,
    AskCycleError: False,
    AskTimeoutError: True,
    SessionClosedError: True,
    RemoteError: True,
    UnexpectedPacketError: True,
}


def drawn() -> dict[str, list[str]]:
    """Return name → names of its bases, read from the drawing in the docstring."""
    tree: dict[str, list[str]] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    (?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w*Error)(?: \((?P<also>\w+)\))?(?: .*)?$", line)
        if match:
            depth = len(match["indent"])
            path = [(at, name) for at, name in path if at < depth]
            bases = [path[-1][1]] if path else ["Exception"]
            tree[match["name"]] = bases + ([match["also"]] if match["also"] else [])
            path.append((depth, match["name"]))
    return tree


def make(cls: type[ZfooError]) -> ZfooError:
    """Make an error with the arguments that its class needs."""
    if cls is RemoteError:
        return RemoteError(1, "text")
    if cls is InboxFullError:
        return InboxFullError("Actor", 1)
    return cls("text")


# ------------------------------------------------------------------------------------------------ the tree
def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    assert drawn() == {name: [base.__name__ for base in cls.__bases__] for name, cls in CLASSES.items()}


def test_every_error_class_of_the_file_is_exported_and_sorted():
    defined = [name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)]
    assert sorted(defined) == errors.__all__


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_has_one_root_a_docstring_and_is_found_in_the_package(name):
    assert issubclass(CLASSES[name], ZfooError)
    assert (CLASSES[name].__doc__ or "").rstrip()
    assert getattr(zfoo_py, name) is CLASSES[name]


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_shows_the_text_it_was_given(name):
    text = str(make(CLASSES[name]))
    assert "text" in text or "Actor" in text


# ------------------------------------------------------------------------------------------------ CallError
def test_may_have_run_by_class():
    found = {cls: make(cls).may_have_run for cls in CLASSES.values() if issubclass(cls, CallError)}
    assert found == MAY_HAVE_RUN


@pytest.mark.parametrize("cls", MAY_HAVE_RUN)
@pytest.mark.parametrize("value", [True, False])
def test_may_have_run_can_be_said_of_one_error_without_changing_its_class(cls, value):
    args = (1, "text") if cls is RemoteError else ("text",)
    assert cls(*args, may_have_run=value).may_have_run is value
    assert make(cls).may_have_run is MAY_HAVE_RUN[cls]


@pytest.mark.parametrize("cls", MAY_HAVE_RUN)
def test_a_call_error_says_what_was_called(cls):
    args = (1, "text") if cls is RemoteError else ("text",)
    error = cls(*args, module="visits", packet="VisitAsk", provider="app | 10.0.0.1:1 | provider:[v-v]", sid=7)
    found = (error.module, error.packet, error.provider, error.sid)
    assert found == ("visits", "VisitAsk", "app | 10.0.0.1:1 | provider:[v-v]", 7)
    plain = make(cls)
    assert (plain.module, plain.packet, plain.provider, plain.sid) == ("", "", "", None)
    assert (plain.elapsed_s, plain.timeout_s) == (0.0, None)


def test_a_remote_error_carries_code_and_text_of_the_error_packet():
    error = RemoteError(5, "too much", packet="VisitAsk")
    assert (error.code, error.remote_message) == (5, "too much")
    assert str(error) == "VisitAsk was answered with error 5: too much"
    assert str(RemoteError(1, "boom")) == "the ask was answered with error 1: boom"
    assert (error.remote_type, error.remote_traceback) == ("", "")
    raised = RemoteError(1, "mine", remote_type="ValueError", remote_traceback="Traceback", advice="look there")
    assert str(raised) == "the ask was answered with error 1: ValueError: mine; look there"
    assert str(RemoteError(1, "", remote_type="KeyError")) == "the ask was answered with error 1: KeyError"


def test_an_ask_cycle_carries_its_path():
    assert AskCycleError("text", path=iter(["a", "b"])).path == ("a", "b")
    assert AskCycleError("text").path == ()


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (AskTimeoutError, TimeoutError),
        (NotReadyError, TimeoutError),
        (SessionClosedError, ConnectionError),
        (NoProviderError, LookupError),
        (EncodeError, ValueError),
        (DecodeError, ValueError),
        (ConfigError, ValueError),
    ],
)
def test_errors_are_caught_as_the_builtin_ones_they_are_like(cls, builtin):
    with pytest.raises(builtin, match="text"):
        raise make(cls)


# ------------------------------------------------------------------------------------------- the others
def test_a_config_error_names_the_path_and_the_nearest_name():
    error = ConfigError("unknown key 'balencer'", path="consumer[0]", nearest="balancer")
    assert (error.path, error.nearest) == ("consumer[0]", "balancer")
    assert str(error) == "consumer[0]: unknown key 'balencer' (did you mean 'balancer'?)"
    plain = ConfigError("no node")
    assert (str(plain), plain.path, plain.nearest) == ("no node", "", None)


def test_the_nearest_name_is_found_whatever_its_case_and_none_if_nothing_is_near():
    assert errors.nearest_name("Balencer", ["provider", "Balancer"]) == "Balancer"
    assert errors.nearest_name("balencer", ["provider"]) is None


def test_a_not_ready_error_lists_what_is_missing():
    assert NotReadyError("text", missing=iter(["visits", "pages"])).missing == ("visits", "pages")
    assert NotReadyError("text").missing == ()


def test_a_decode_error_has_the_signal_id_of_an_ask():
    assert DecodeError("text", signal_id=9).signal_id == 9
    assert DecodeError("text").signal_id is None


def test_an_inbox_full_error_says_whose_inbox_its_bound_and_what_to_do():
    error = InboxFullError("ConsumerActor", 100)
    assert error.limit_messages == 100
    assert str(error) == "the inbox of ConsumerActor is full (100 messages): send less, or retry later"
