"""One answer for each ask, whoever gives it, and nobody falls over an asker that is gone."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from pykka import ActorDeadError

from tests.support.packets import TABLE, VisitAnswer, VisitAsk
from zfoo_py.actor import Abort, LoopFuture
from zfoo_py.errors import AlreadyAnsweredError, EncodeError, InboxFullError, ZfooError
from zfoo_py.events import Events, ReceiverFailed
from zfoo_py.net.messages import Finished, Reply
from zfoo_py.protocol.common import Error, ErrorCode
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.router.replies import Replies

CODEC = MsgpackCodec(TABLE)


class Session:
    """Takes what it is told, or raises once."""

    sid = 7

    def __init__(self, fault=None):
        self.told, self.fault = [], fault
        self.ref = self

    def tell(self, message):
        if self.fault is not None and not isinstance(message, Abort):
            raise self.fault
        self.told.append(message)


def replies(*, send_tracebacks=False, events=None):
    return Replies(CODEC, events or Events(), threading.Lock(), send_tracebacks=send_tracebacks)


def a_call(session=None, signal_id=3, outcome=None):
    receiver = SimpleNamespace(where="at_visit (a.py:1)")
    return SimpleNamespace(
        session=session, packet=VisitAsk("x"), signal_id=signal_id, answered=False, outcome=outcome, receiver=receiver
    )


def decoded(reply):
    assert (reply.signal_id, reply.finishes) == (3, False)
    _, packet, _ = CODEC.decode(reply.head + b"\xc0\xc0")
    return packet


def test_an_explicit_answer_goes_out_once():
    session, replying = Session(), replies()
    call = a_call(session)
    replying.answer(call, VisitAnswer("one"))
    with pytest.raises(AlreadyAnsweredError, match=r"at_visit \(a.py:1\) answered VisitAsk twice"):
        replying.answer(call, VisitAnswer("two"))
    replying.refuse(call, Error(ErrorCode.OVERLOADED, "late"))
    assert [decoded(each) for each in session.told] == [VisitAnswer("one")]


def test_what_cannot_be_encoded_uses_up_nothing():
    session, replying = Session(), replies()
    call = a_call(session)
    with pytest.raises(EncodeError):
        replying.answer(call, VisitAnswer(3))
    replying.answer(call, VisitAnswer("right"))
    assert [decoded(each) for each in session.told] == [VisitAnswer("right")]


def test_of_many_threads_that_answer_one_does():
    session, replying = Session(), replies()
    call, gate, won = a_call(session), threading.Barrier(8), []

    def answer():
        gate.wait()
        if replying.claim(call):
            won.append(threading.get_ident())

    threads = [threading.Thread(target=answer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


@pytest.mark.parametrize("signal_id", [0, 3])
def test_a_packet_sent_one_way_takes_neither_answer_nor_refusal(signal_id):
    session, replying = Session(), replies()
    call = a_call(session, signal_id)
    replying.answer(call, VisitAnswer("x"))
    replying.refuse(a_call(session, signal_id), Error(ErrorCode.OVERLOADED, "much"))
    assert len(session.told) == (2 if signal_id else 0)


def test_a_receiver_that_raised_is_counted_published_and_answered():
    failed, events = [], Events()
    events.subscribe(ReceiverFailed, failed.append)
    session, replying = Session(), replies(events=events)
    replying.failed(a_call(session), LookupError("no page"))
    [reply] = session.told
    answer = decoded(reply)
    assert (answer.code, "no page" in answer.message) == (ErrorCode.RECEIVER_RAISED, True)
    assert failed == [ReceiverFailed("at_visit (a.py:1)", "VisitAsk", 7, "LookupError", "no page")]
    assert replying.receiver_failures == 1


@pytest.mark.parametrize("send_tracebacks", [False, True])
def test_the_traceback_goes_to_the_asker_only_where_that_is_allowed(send_tracebacks):
    session = Session()
    try:
        raise LookupError("no page")  # noqa: TRY301 - it is to have a traceback
    except LookupError as error:
        replies(send_tracebacks=send_tracebacks).failed(a_call(session), error)
    assert (b"test_replies.py" in session.told[0].head) is send_tracebacks


def test_own_work_hears_of_it_through_its_outcome():
    replying = replies()
    raised, refused = LoopFuture(), LoopFuture()
    replying.failed(a_call(outcome=raised), LookupError("no page"))
    replying.refuse(a_call(outcome=refused), Error(ErrorCode.OVERLOADED, "much"))
    assert isinstance(raised.exception(), LookupError)
    assert isinstance(refused.exception(), ZfooError)
    assert "much" in str(refused.exception())


def test_a_session_that_is_gone_or_full_is_nobodys_error():
    replying = replies()
    gone, full = Session(ActorDeadError("gone")), Session(InboxFullError("SessionActor", 5))
    for session in (gone, full):
        replying.tell(session, Finished())
    replying.tell(full, Reply(3, b"", finishes=True))
    assert replying.unsent == 3
    assert gone.told == []
    assert [type(each) for each in full.told] == [Abort, Abort]
