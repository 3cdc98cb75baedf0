"""The form of a journal: each way to break it is found."""

import pytest

from samples.check_cluster import check
from samples.journal import EXAMPLES, Faults, read_journal
from samples.trace import synthetic
from tests.samples.simulation import asks, busy_asks, churning


def lie(fault):
    """Mark a function that makes a true journal false; `fault` is what the referee has to say."""

    def mark(function):
        LIES.append(pytest.param(function, fault, id=function.__name__))
        return function

    return mark


LIES = []


@lie("membership line missing")
def a_version_without_membership(journal):
    journal.remove(next(r for r in journal if r["kind"] == "membership" and r["version"] == 2))


@lie("membership line missing")
def a_membership_told_late(journal):
    line = next(r for r in journal if r["kind"] == "membership" and r["version"] == 3)
    journal.remove(line)
    journal.insert(-1, line)


@lie("membership told twice")
def a_membership_told_again(journal):
    journal.insert(-1, next(r for r in journal if r["kind"] == "membership"))


@lie("two providers with one name")
def one_name_for_two_providers(journal):
    providers = next(r for r in journal if r["kind"] == "membership")["modules"]["visits"]
    providers.append(providers[0] | {"ring_name": "another"})


@lie("name used for two providers")
def one_name_for_two_lives(journal):
    for record in journal:
        if record.get("version") == 3 and record["kind"] == "membership":
            record["modules"]["visits"][0]["ring_name"] += "x"


@lie("name used for two providers")
def a_started_provider_that_was_there(journal):
    next(r for r in journal if r.get("event") == "started")["served_by"] = "visits-1"


@lie("churn of an unknown provider")
def a_kill_of_nobody(journal):
    next(r for r in journal if r.get("event") == "killed")["served_by"] = "visits-9"


@lie("ask missing: 1")
def an_ask_left_out(journal):
    journal.remove(busy_asks(journal)[-1])


@lie("ask missing: 3")
def asks_begun_that_never_ended(journal):
    journal[-1]["asks"] += 3


@lie("ask told twice: 1")
def an_ask_told_twice(journal):
    journal.insert(-1, asks(journal)[0])


@lie("ask that was never begun: 1")
def an_ask_too_many(journal):
    asks(journal)[0]["n"] = 5000


@lie("journal cut short")
def a_journal_without_end(journal):
    journal.pop()


@lie("journal cut short")
def a_journal_without_header(journal):
    del journal[0]


@lie("journal out of order")
def a_journal_that_goes_on_after_its_end(journal):
    journal.append(journal.pop(5))


@lie("malformed record: 1")
def an_ask_without_version(journal):
    del asks(journal)[-1]["version"]


@lie("malformed record: 1")
def a_key_that_is_no_text(journal):
    asks(journal)[-1]["key"] = 7


@lie("record of unknown kind")
def an_unknown_record(journal):
    journal.insert(3, {"kind": "rumour"})


@lie("answer without count or provider")
def an_answer_without_count(journal):
    busy_asks(journal)[-1]["count"] = None


@lie("error that does not say whether it may have run")
def an_error_that_is_silent(journal):
    asks(journal, outcome="SessionClosedError")[0]["may_have_run"] = None


@pytest.mark.parametrize(("tell", "fault"), LIES)
def test_a_lie_is_found(tell, fault):
    journal = churning()
    tell(journal)
    report = check(journal, synthetic(5))
    assert fault in "\n".join(report.faults)
    assert not report.ok
    assert report.as_dict()["verdict"] == "wrong"


def test_of_many_faults_of_a_kind_the_first_are_told_and_all_counted():
    faults = Faults()
    for number in range(20):
        faults.add("misroutes", f"ask {number}")
    (line,) = faults.lines()
    assert line.startswith("misroutes: 20 (ask 0; ")
    assert line.count("ask") == EXAMPLES


@pytest.mark.parametrize("text", ["[]\n", "7\n", "no json\n", '{"kind": "header"\n'])
def test_a_line_that_is_no_object_is_an_error(tmp_path, text):
    (tmp_path / "journal").write_text('{"kind": "header"}\n' + text)
    with pytest.raises(ValueError, match=r"line 2|Expecting"):
        list(read_journal(tmp_path / "journal"))
