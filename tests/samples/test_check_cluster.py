"""The referee finds nothing in a true journal, and each kind of lie in a false one."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from samples import check_cluster
from samples.check_cluster import Ring, check, fnv
from samples.trace import Request, synthetic
from tests.samples.simulation import REQUESTS, Simulation, asks, busy_asks, churning, fail, quiet

DATA = Path(__file__).resolve().parents[1] / "data"
SETS = json.loads((DATA / "ring.json").read_text(encoding="utf-8"))["sets"]


@pytest.mark.parametrize("vectors", SETS, ids=[vectors["name"] for vectors in SETS])
def test_the_referees_ring_is_zfoos(vectors):
    ring = Ring(reversed(vectors["providers"]))
    assert (len(ring.hashes), ring.hashes[0], ring.hashes[-1]) == (
        vectors["ringSize"],
        vectors["minRingKey"],
        vectors["maxRingKey"],
    )
    for entry in vectors["keys"]:
        text = str(entry["key"])
        assert (fnv(text), ring.owner(text)) == (entry["hash"], entry["owner"])


def test_an_empty_ring_has_no_owner():
    assert Ring([]).owner("a") is None


def test_a_quiet_run_is_right():
    report = check(quiet(), REQUESTS)
    assert report.faults == []
    assert report.as_dict() == {
        "verdict": "right",
        "asks": 1800,
        "answered": 1800,
        "failed": {},
        "misroutes": 0,
        "wrong_owner": 0,
        "moved_keys": 0,
        "needless_moves": 0,
        "counts_exact": True,
        "explained": 0,
        "reordered": 0,
        "memo_growing": None,
        "memo": None,
        "trace_compared": True,
        "cache_entries": {"visits": 3},
        "unexplained": [],
        "may_have_run": [],
        "faults": [],
    }


def test_a_churning_run_is_right_and_its_moves_and_lost_asks_are_told():
    report = check(churning(), synthetic(5))
    assert report.faults == []
    assert report.ok
    assert report.counts_exact is True
    assert report.moved_keys > 10
    assert report.needless_moves == 0
    assert report.failed == {"SessionClosedError": len(report.may_have_run)}
    assert report.failed["SessionClosedError"] > 0
    assert "visits-1, SessionClosedError" in report.may_have_run[0]


def test_under_random_counts_and_owners_are_not_judged_but_misroutes_are():
    journal = quiet(balancer="random")
    report = check(journal)
    assert report.faults == []
    assert report.counts_exact is None
    assert (report.moved_keys, report.wrong_owner) == (0, 0)
    asks(journal, module="visits")[0].update(served_by="pages-1")
    assert check(journal).misroutes == 1


def test_a_gap_is_explained_by_one_failed_ask_of_the_same_key_and_provider():
    journal = quiet()
    churn = {
        "kind": "churn",
        "event": "killed",
        "served_by": "pages-2",
        "ring_name": "",
    }  # so that failures are allowed
    lost = busy_asks(journal, module="visits")[3]
    fail(lost)
    journal.insert(-1, churn)
    report = check(journal)
    assert (report.explained, report.unexplained, report.counts_exact) == (1, [], True)
    assert report.may_have_run == [
        f"ask {lost['n']} (visits '{lost['key']}', {lost['served_by']}, AskTimeoutError, version 1)"
    ]
    lost.update(served_by=None)
    assert check(journal).explained == 1, "an error that does not know its provider may explain it too"


def test_a_failed_ask_that_left_no_gap_is_no_fault_of_the_counts():
    journal = churning()
    last = busy_asks(journal, module="pages")[-1]
    fail(last)
    assert check(journal).faults == []


# ------------------------------------------------------------------------------------------------- lies
def lie(fault):
    """Mark a function that makes a true journal false; `fault` is what the referee has to say."""

    def mark(function):
        LIES.append(pytest.param(function, fault, id=function.__name__))
        return function

    return mark


LIES = []


@lie("unexplained counts: 2")
def a_wrong_count(journal):
    busy_asks(journal)[4]["count"] += 1  # one number twice, one never


@lie("unexplained counts: 1")
def a_count_that_jumps(journal):
    busy_asks(journal)[-1]["count"] += 1


@lie("unexplained counts: 1")
def a_duplicated_count(journal):
    twice = busy_asks(journal)
    twice[-1]["count"] = twice[-2]["count"]


@lie("cannot be")
def a_count_of_zero(journal):
    busy_asks(journal)[0]["count"] = 0


@lie("no failed ask explains it")
def a_gap_behind_an_error_that_cannot_have_run(journal):
    fail(busy_asks(journal)[3], may_have_run=False)


@lie("unexplained counts: 1")
def a_gap_behind_an_error_of_another_provider(journal):
    lost = busy_asks(journal, module="visits")[3]
    fail(lost)
    lost["served_by"] = "visits-1" if lost["served_by"] != "visits-1" else "visits-3"


@lie("unexplained counts: 1")
def two_gaps_behind_one_error(journal):
    busy = busy_asks(journal)
    fail(busy[3])
    fail(busy[5], may_have_run=False)


@lie("unexplained counts")
def a_moved_key_that_kept_its_count(journal):
    """The new owner goes on where the killed one stopped: its state cannot have moved."""
    by_key = {}
    for ask in asks(journal, module="visits", outcome="ok"):
        by_key.setdefault(ask["key"], {}).setdefault(ask["served_by"], []).append(ask)
    lives = next(lives for lives in by_key.values() if "visits-1" in lives and len(lives) > 1)
    old = lives.pop("visits-1")
    for asked in next(iter(lives.values())):
        asked["count"] += len(old)


@lie("misroutes: 1")
def an_ask_at_a_provider_of_another_type(journal):
    asks(journal, module="visits", outcome="ok")[0]["served_by"] = "pages-1"


@lie("misroutes: 1")
def an_ask_at_a_provider_that_was_gone(journal):
    asks(journal, module="visits", version=3)[-1]["served_by"] = "visits-1"


@lie("misroutes: 1")
def an_ask_that_a_provider_refused(journal):
    fail(asks(journal, module="pages", outcome="ok")[-1], "NotServed", may_have_run=False)


@lie("wrong owner")
def a_key_at_another_provider_of_its_type(journal):
    for ask in asks(journal, module="visits", key=busy_asks(journal, module="visits")[0]["key"]):
        ask["served_by"] = "visits-3" if ask["served_by"] != "visits-3" else "visits-2"


@lie("needless moves: 2")
def a_key_that_moved_and_came_back(journal):
    ask = busy_asks(journal, module="sessions")[5]
    ask["served_by"] = "sessions-2" if ask["served_by"] != "sessions-2" else "sessions-1"


@lie("wrong owner")
def a_key_that_stayed_when_a_provider_joined(journal):
    """What zfoo's cached balancer does: a busy key stays where it was."""
    before = {ask["key"]: ask["served_by"] for ask in asks(journal, module="visits", version=2)}
    moved = next(a for a in asks(journal, module="visits", served_by="visits-4") if a["key"] in before)
    moved["served_by"] = before[moved["key"]]


@lie("churn without effect")
def a_kill_that_nobody_noticed(journal):
    next(r for r in journal if r.get("event") == "killed")["served_by"] = "visits-2"


@lie("churn without effect")
def a_start_that_nobody_noticed(journal):
    next(r for r in journal if r.get("event") == "started")["served_by"] = "visits-9"


@lie("asks failed in a run without churn")
def failures_without_a_reason(journal):
    journal[:] = [record for record in journal if record["kind"] != "churn"]


@lie("false promise")
def a_header_that_talks_its_way_out(journal):
    journal[0]["keeps_keys"]["visits"] = False


@lie("module without promise")
def a_header_that_forgets_a_module(journal):
    for promises in (journal[0]["keeps_keys"], journal[0]["balancers"]):
        del promises["pages"]


@lie("asks that are not the trace's: 2")
def two_asks_swapped(journal):
    first, second = (next(iter(asks(journal, n=n))) for n in (0, 3))
    first["n"], second["n"] = 3, 0


@lie("asks that are not the trace's: 1")
def an_ask_of_another_size(journal):
    asks(journal)[0]["bytes"] += 1


@lie("nothing was answered")
def nothing_but_errors(journal):
    for ask in asks(journal):
        fail(ask)


@pytest.mark.parametrize(("tell", "fault"), LIES)
def test_a_lie_is_found(tell, fault):
    journal = churning()
    tell(journal)
    report = check(journal, synthetic(5))
    assert fault in "\n".join(report.faults)
    assert not report.ok
    assert report.as_dict()["verdict"] == "wrong"


# --------------------------------------------------------------------------------------- trace and memo
@pytest.mark.parametrize(
    ("end", "length", "fault"),
    [
        ({}, 600, None),
        ({}, 601, "trace not asked to its end"),
        ({"stopped_early": True}, 601, None),
        ({}, 599, "asks beyond the trace: 3"),
    ],
)
def test_a_log_is_to_be_asked_from_beginning_to_end(end, length, fault):
    simulation = Simulation(REQUESTS, trace="access.log")
    simulation.run(1800)
    report = check(simulation.end(**end), islice(synthetic(5), length))
    assert bool(report.faults) == bool(fault)
    assert (fault or "") in "\n".join(report.faults)


def memo_run(sweep):
    """Return a churning run's journal with the samples of a memo that remembers all keys, or sweeps them."""
    journal = churning()
    owner, samples = {}, []
    for n, ask in enumerate(sorted(asks(journal), key=lambda ask: ask["n"]), start=1):
        if n > 600 and owner.get(ask["key"]) == "visits-1":
            del owner[ask["key"]]  # zfoo's repair on demand: the key came again, and its provider is gone
        owner.setdefault(ask["key"], ask["served_by"])
        gone = [key for key, name in owner.items() if name == "visits-1" and n > 600]
        if sweep:
            for key in gone:
                del owner[key]
            gone = []
        if n % 100 == 0:
            samples.append({"n": n, "entries": len(owner), "gone": len(gone)})
    journal[-1]["memo"] = samples
    return journal


def test_a_memo_that_never_forgets_is_growing():
    report = check(memo_run(sweep=False))
    assert report.memo_growing is True
    assert report.memo["idle"][0] < report.memo["idle"][1]
    assert report.memo["gone"][0] == 0 < report.memo["gone"][1]
    assert [fault.split(":")[0] for fault in report.faults] == ["growing memo"]


def test_a_memo_that_forgets_gone_providers_is_not_growing():
    report = check(memo_run(sweep=True))
    assert report.memo_growing is False
    assert report.ok


def test_a_memo_with_a_bound_is_not_growing():
    journal = memo_run(sweep=False)
    for sample in journal[-1]["memo"]:
        sample["entries"] = min(sample["entries"], 50)
    assert check(journal).memo_growing is False


# ------------------------------------------------------------------------------------------ as a program
def write(path, journal):
    path.write_text("".join(json.dumps(record) + "\n" for record in journal), encoding="utf-8")
    return str(path)


def test_the_program_ends_with_0_for_the_truth_and_knows_the_synthetic_trace(tmp_path, capsys):
    assert check_cluster.main(["--journal", write(tmp_path / "j", churning())]) == 0
    out = capsys.readouterr().out
    assert "verdict: right" in out
    assert "the asks were compared with the trace" in out


def test_the_program_ends_with_1_for_a_lie_and_says_which(tmp_path, capsys):
    journal = churning()
    an_ask_of_another_size(journal)
    a_wrong_count(journal)
    assert check_cluster.main(["--journal", write(tmp_path / "j", journal), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "wrong"
    assert report["counts_exact"] is False
    assert [fault.split(":")[0] for fault in report["faults"]] == [
        "unexplained counts",
        "asks that are not the trace's",
    ]


def test_the_program_reads_the_replayed_log(tmp_path, capsys):
    line = '{} - - [17/May/2015:10:05:03 +0000] "GET {} HTTP/1.1" 200 {} "-" "-"\n'
    requests = [Request("10.0.0.1", "/a", 1), Request("10.0.0.2", "/b", 2)]
    log = tmp_path / "access.log"
    log.write_text("".join(line.format(*request) for request in requests))
    simulation = Simulation(requests, trace=str(log))
    simulation.run(6)
    path = write(tmp_path / "j", simulation.end())
    assert check_cluster.main(["--journal", path, "--trace", str(log)]) == 0
    log.write_text(line.format(*requests[0]))
    assert check_cluster.main(["--journal", path, "--trace", str(log)]) == 1
    assert "asks beyond the trace: 3" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]\n", "no json\n", '{"kind": "header"\n'])
def test_a_file_that_is_no_journal_is_wrong(tmp_path, text, capsys):
    (tmp_path / "j").write_text(text)
    assert check_cluster.main(["--journal", str(tmp_path / "j")]) == 1
    captured = capsys.readouterr()
    assert "wrong" in captured.out + captured.err


def test_the_program_runs_as_a_file(tmp_path):
    path = write(tmp_path / "j", quiet())
    done = subprocess.run(
        [sys.executable, check_cluster.__file__, "--journal", path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("verdict: right\n")
