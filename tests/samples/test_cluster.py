"""`make cluster`, really run: processes, sockets, churn; it tells the truth, and it can fail."""

from __future__ import annotations

import gzip
import json
import os
import select
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from samples import cluster
from samples.trace import synthetic

ROOT = Path(__file__).resolve().parents[2]
# A run that takes longer has found a hang.
HANG_S = 50.0
REQUIRED = {
    "asks",
    "answered",
    "failed",
    "misroutes",
    "needless_moves",
    "moved_keys",
    "counts_exact",
    "cache_entries",
    "hit_ratio",
    "evictions",
    "asks_per_second",
    "latency_us",
    "consumer_rss_mib",
}
LINE = '{} - - [17/May/2015:10:05:03 +0000] "GET {} HTTP/1.1" 200 {} "-" "-"\n'
CHILDREN = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
needs_proc = pytest.mark.skipif(not CHILDREN.exists() or not hasattr(os, "pidfd_open"), reason="needs Linux")


def run(*words, program=("-m", "samples.cluster")):
    """Run a program to its end."""
    command = [sys.executable, *program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=HANG_S)


def figures_of(done, code=0):
    """Return the one JSON object that a run printed; nothing else may be said by anybody."""
    assert (done.returncode, done.stderr) == (code, ""), done.stderr
    figures = json.loads(done.stdout)
    assert figures.keys() >= REQUIRED
    assert figures["asks"] == figures["answered"] + sum(figures["failed"].values()) > 0
    return figures


def referee(journal, *words):
    """Run the referee as a file on a journal."""
    done = run("--journal", journal, "--json", *words, program=("samples/check_cluster.py",))
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def log(tmp_path):
    """Return a small access log."""
    path = tmp_path / "access.log"
    path.write_text("".join(LINE.format(*request) for request in islice(synthetic(3), 400)) + "garbage\n")
    return path


# --------------------------------------------------------------------------------------------- runs that are right
@pytest.mark.slow
def test_a_second_of_made_up_requests_is_right(tmp_path):
    figures = figures_of(run("--seconds", 1, "--json"))
    assert figures["verdict"] == "right"
    assert (figures["failed"], figures["misroutes"], figures["moved_keys"], figures["needless_moves"]) == ({}, 0, 0, 0)
    assert figures["counts_exact"] is True
    assert figures["cache_entries"] > 100
    assert 0.5 < figures["hit_ratio"] < 1
    assert set(figures["latency_us"]) == {"p50", "p99"}
    assert figures["evictions"] == {"provider_down": 0, "provider_up": 0, "expired": 0, "capacity": 0}


@pytest.mark.slow
def test_a_log_is_replayed_to_its_end_and_its_journal_can_be_judged_again(tmp_path, log):
    journal = tmp_path / "journal"
    figures = figures_of(run("--trace", log, "--json", "--journal", journal, "--concurrency", 8))
    assert (figures["verdict"], figures["asks"], figures["trace_compared"]) == ("right", 1200, True)
    code, report = referee(journal, "--trace", log)
    assert (code, report["verdict"], report["asks"], report["trace_compared"]) == (0, "right", 1200, True)
    log.write_text(log.read_text().replace("/pages/1 ", "/pages/one "))
    code, report = referee(journal, "--trace", log)
    assert code == 1
    assert report["faults"][0].startswith("asks that are not the trace's: ")


@pytest.mark.slow
def test_a_packed_log_is_replayed_and_told_to_a_person(tmp_path, log):
    packed = tmp_path / "access.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    done = run("--trace", packed, "--seconds", 30, "--providers", 1)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "starting 4 providers …",
        "all have joined; replaying the log, 30 s at most, then the referee judges …",
    ]
    lines = done.stdout.splitlines()
    assert lines[0] == "asks 1,200, answered 1,200, failed 0 (-)"
    assert lines[-2] == "verdict: right"
    assert "asks/s, p50" in lines[-1]


@pytest.mark.slow
def test_under_churn_keys_move_but_none_needlessly_and_a_lie_about_it_is_caught(tmp_path):
    journal = tmp_path / "journal"
    figures = figures_of(run("--churn", "--seconds", 4, "--json", "--journal", journal))
    assert figures["verdict"] == "right"
    assert figures["moved_keys"] > 0
    assert (figures["needless_moves"], figures["misroutes"], figures["counts_exact"]) == (0, 0, True)
    assert set(figures["failed"]) <= {"SessionClosedError"}
    assert figures["evictions"]["provider_down"] > 0
    assert figures["evictions"]["provider_up"] > 0
    code, report = referee(journal)
    assert (code, report["verdict"]) == (0, "right")
    for name in ("asks", "failed", "moved_keys", "needless_moves", "explained", "may_have_run"):
        assert report[name] == figures[name], name

    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [r["event"] for r in records if r["kind"] == "churn"] == ["killed", "started"]
    answered = [r for r in records if r.get("outcome") == "ok" and r["module"] == "visits"]
    lies = {
        "unexplained counts": (answered[-1], {"count": answered[-1]["count"] + 1}),
        "misroutes": (answered[-2], {"served_by": "pages-1"}),
        "asks that are not the trace's": (answered[-3], {"bytes": -1}),
    }
    for record, lie in lies.values():
        record.update(lie)
    journal.write_text("".join(json.dumps(record) + "\n" for record in records))
    code, report = referee(journal)
    assert code == 1
    assert set(lies) <= {line.partition(":")[0] for line in report["faults"]}


@pytest.mark.slow
def test_under_random_counts_are_not_judged():
    figures = figures_of(run("--balancer", "random", "--seconds", 1, "--json"))
    assert (figures["verdict"], figures["counts_exact"], figures["misroutes"]) == ("right", None, 0)
    assert figures["hit_ratio"] is None


# -------------------------------------------------------------------------------------------------- and one that is not
@pytest.mark.slow
def test_the_old_balancer_misroutes_and_grows():
    figures = figures_of(run("--balancer", "zfoo-2024", "--seconds", 2, "--json"), code=1)
    assert figures["verdict"] == "wrong"
    assert figures["misroutes"] > 1000
    assert figures["failed"] == {"NotServed": figures["misroutes"]}
    assert figures["memo_growing"] is True
    first, last = figures["memo"]["idle"]
    assert last > 10 * first
    kinds = [fault.partition(":")[0] for fault in figures["faults"]]
    assert "misroutes" in kinds
    assert "growing memo" in kinds


# ------------------------------------------------------------------------------------------------- nothing left behind
class Running:
    """A cluster that is asking right now: its journal is a pipe that this process reads."""

    def __init__(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        words = ["-m", "samples.cluster", "--seconds", "40", "--json", "--concurrency", "4", "--journal", str(pipe)]
        self.process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        self.journal = pipe.open(encoding="utf-8")
        next(line for line in self.journal if '"kind": "ask"' in line)
        pid = self.process.pid
        self.providers = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        self.ends = [os.pidfd_open(pid) for pid in self.providers]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.journal.close()
        for end in self.ends:
            os.close(end)

    def end(self):
        """Let it end; return its exit code and what it said, once every provider is gone."""
        for _ in self.journal:
            pass
        out, err = self.process.communicate(timeout=HANG_S)
        for end in self.ends:
            assert select.select([end], [], [], HANG_S)[0], "a provider was left behind"
        return self.process.returncode, out, err


@needs_proc
@pytest.mark.slow
def test_ctrl_c_stops_every_process(tmp_path):
    with Running(tmp_path) as running:
        assert len(running.providers) == 6
        running.process.send_signal(signal.SIGINT)
        assert running.end() == (130, "", "interrupted; every provider was stopped\n")


@needs_proc
@pytest.mark.slow
def test_a_consumer_that_crashes_leaves_no_provider_behind(tmp_path):
    with Running(tmp_path) as running:
        running.process.kill()
        assert running.end() == (-signal.SIGKILL, "", "")


@needs_proc
@pytest.mark.slow
def test_a_provider_that_ends_by_itself_ends_the_run_with_a_sentence(tmp_path):
    with Running(tmp_path) as running:
        os.kill(running.providers[3], signal.SIGKILL)
        sentence = "the cluster could not run: provider sessions-1 ended by itself with exit code -9: it said nothing\n"
        assert running.end() == (2, "", sentence)


# ---------------------------------------------------------------------------------------------- what it cannot run with
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--trace", "no/such/file"], "cannot read no/such/file: No such file or directory"),
        (["--trace", "."], "cannot read .: Is a directory"),
        (["--trace", os.devnull], f"{os.devnull} holds no web request in combined log format"),
        (["--journal", "no/such/folder/journal"], "cannot write no/such/folder/journal: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(words, sentence, capsys):
    assert cluster.main([*words, "--json"]) == 2
    assert capsys.readouterr() == ("", f"the cluster could not run: {sentence}\n")


def test_a_damaged_gzip_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(LINE.encode() * 1000)[:-9])
    assert cluster.main(["--trace", str(path), "--seconds", "1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"the cluster could not run: {path} is a damaged gzip file")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("--churn --providers 1", "--churn kills visits-2"),
        ("--providers 0", "must be at least 1"),
        ("--concurrency 0", "must be at least 1"),
        ("--seconds 0", "--seconds must be more than 0"),
        ("--seconds nan", "--seconds must be more than 0"),
        ("--seconds inf", "--seconds must be more than 0"),
        ("--balancer best", "there is no balancer 'best'; there are bounded-consistent-hash, "),
        ("--story --json", "--json is of one pass, not of the story"),
        ("--story --providers 1", "the story kills a provider of visits"),
    ],
)
def test_a_wrong_option_is_refused(words, hint, capsys):
    with pytest.raises(SystemExit) as ended:
        cluster.main(words.split())
    assert ended.value.code == 2
    assert hint in capsys.readouterr().err.replace("\n", " ")


def test_a_balancer_of_ones_own_is_for_the_node_to_judge(capsys):
    assert cluster.parse(["--balancer", "my_policy:Sticky"]).balancer == "my_policy:Sticky"


@pytest.mark.parametrize("words", ["--trace x", "--json", "--churn", "--balancer random", "--journal x", "--no-story"])
def test_these_options_mean_one_pass_also_on_a_terminal(words, monkeypatch):
    monkeypatch.setattr(cluster, "is_in_front_of_a_person", lambda: True)
    assert not cluster.parse(words.split()).story
    assert cluster.parse(["--seed", "3"]).story
    assert cluster.parse([]).seconds == 40


def test_pictures_need_matplotlib_and_a_folder_and_say_so_before_anything_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cluster.story_plot, "is_there", lambda: False)
    assert cluster.main(["--no-story", "--plot", str(tmp_path)]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err
    monkeypatch.setattr(cluster.story_plot, "is_there", lambda: True)
    file = tmp_path / "file"
    file.touch()
    assert cluster.main(["--no-story", "--plot", str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"the cluster could not run: cannot write to {file}: ")
