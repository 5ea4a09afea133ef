# SPDX-License-Identifier: Apache-2.0
"""What gapless fit says and draws: levers, text, the page."""

import json

import pytest
from fit_recordings import MIB, READ, Recording, Scripted, answer, recorded  # noqa: F401
from gapless.cli import main
from gapless.fit import cards, drawing, levers, text
from gapless.fit.run import Outcome


def test_levers_say_how_and_where_from(recorded):
    found = answer(recorded)
    all_of_them = levers.find(found, None)
    assert all_of_them[0]["how"] == "micro-batch=2, accumulation=4 (the same 8 samples a step)"
    assert all_of_them[0]["peak"] == 33 * MIB
    assert {one["from"] for one in all_of_them[1:]} == {"estimate"}


def test_evaluation_has_a_lever_of_its_own(recorded):
    found = answer(recorded)
    found.card = cards.find("17MiB")
    recorded.facts["evaluation_batch"] = 8
    lever = next(one for one in levers.find(found, None) if one["lever"] == "smaller evaluation batch")
    # 12 MiB are weights and state; 10 MiB are of eight samples.
    assert lever["how"] == "evaluation batch=3 instead of 8"
    assert lever["fits"]


def test_the_page_of_an_answer_needs_nothing_else(recorded, tmp_path, capsys):
    found = answer(recorded)
    found.levers, found.notes = levers.find(found, None), ["a <note>"]
    path, page = tmp_path / "fit.json", tmp_path / "fit.html"
    path.write_text(json.dumps(text.as_data(found, ["python", "a b.py"])))
    assert main(["report", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("DOES NOT FIT")
    assert "activations" in said
    assert main(["report", str(path), "--html", str(page)]) == 0
    html = page.read_text(encoding="utf-8")
    assert "a &lt;note&gt;" in html
    assert html.count("<svg") == 2
    assert "http" not in html.replace("http-equiv", "")
    assert 'name="viewport"' in html
    assert "@media print" in html
    assert main(["report", str(path), "--html", str(tmp_path / "none" / "x.html")]) == 1
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(("verdict", "said"), [("fits", "did not change the peak"), ("could not tell", "Choose the sizes on the host")])
def test_values_that_were_read_are_always_shown(recorded, capsys, tmp_path, verdict, said):
    found = answer(recorded, verdict)
    found.reads = [READ]
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(text.as_data(found, ["x"])))
    assert main(["report", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "t.py:7 main" in out
    assert said in out


def test_drawings_are_of_all_phases(recorded):
    data = text.as_data(answer(recorded), ["x"])
    over_time, apart = (svg for svg, _ in drawing.figures(data))
    assert "evaluation" in over_time
    assert over_time.count("<rect") > len(recorded.steps)
    assert "optimizer state" in apart


@pytest.mark.parametrize(("most", "said"), [(None, ("(lengths 8 to 16)", "with the longest examples")),
                                            (32, ("(with a length of 32; the data has lengths 8 to 16)", "with examples of 32"))])
def test_the_length_that_was_reckoned_with_is_said(recorded, most, said):
    found = answer(recorded, "fits")
    recorded.facts["lengths"] = {"read": 4, "of": 4, "least": 8, "most": 16, "counts": [[8, 2], [16, 2]]}
    found.longest, found.max_len = found.peak, most
    lines = dict(text.sections(text.as_data(found, ["x"]))[0].lines)
    assert said[0] in lines["longest examples"]
    assert said[1] in lines["largest that fits"]


@pytest.mark.parametrize(("times", "unit", "weights"), [(1, "MiB", "4.0"), (64, "GiB", "0.25")])
def test_small_peaks_are_told_in_mebibytes(times, unit, weights):
    one = Recording()
    one.make(times * 4 * MIB, "weights")
    for samples in (4 * times, 4 * times):
        one.step(samples)
    table = text.sections(text.as_data(answer(one.run(batch=4 * times)), ["x"]))[1].table
    assert table.columns[-1] == f"at the peak, {unit}, in"
    assert table.rows[0][0] == weights


def test_a_file_of_an_older_version_is_shown(recorded, tmp_path, capsys):
    data = text.as_data(answer(recorded), ["x"])
    for name in ("max_len", "own_reserved"):
        del data["fit"][name]
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(data))
    assert main(["report", str(path)]) == 0
    assert "DOES NOT FIT" in capsys.readouterr().out


def test_a_lever_whose_peak_is_the_evaluation_says_so(recorded):
    evaluates = Recording()
    evaluates.make(4 * MIB, "weights")
    evaluates.step(4)
    evaluates.evaluate(60 * MIB)
    found = answer(recorded)
    recorded.facts |= {"trainer": True, "arguments": {"bf16": True}}
    said = levers.find(found, Scripted(Outcome(evaluates.run(), found.card, True, 1.0)))
    lever = next(one for one in said if one["lever"] == "gradient checkpointing")
    assert lever["peak"] == 72 * MIB
    assert lever["note"].startswith("what is left is the evaluation's peak")
