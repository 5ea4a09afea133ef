# SPDX-License-Identifier: Apache-2.0
"""gapless doctor: every rule has a fixture that breaks it, good fixtures break none, broken files say so."""

import json
import pathlib

import pytest
from gapless.cli import main
from gapless.doctor import Context, allocator, check, expression, kinds, read, rules
from gapless.fit import cards

BREAKING = [json.loads(line) for line in (pathlib.Path(__file__).parent / "doctor" / "breaking.jsonl").read_text().splitlines()]
GOOD = sorted((pathlib.Path(__file__).parent / "doctor").glob("good*"))


def context(case):
    card = cards.find(case["device"]) if "device" in case else None
    torch = tuple(case["torch"]) if "torch" in case else (2, 11)
    return Context(case.get("gpus", 1), case.get("device"), card.capability if card else None, torch)


def findings(case):
    if "environment" in case:
        return check.environment(context(case), case["environment"]).findings
    return check.mapping("a file", case["data"], kinds.kind(case["kind"]), context(case)).findings


@pytest.fixture(autouse=True)
def _no_strings_of_this_machine(monkeypatch):
    for name in allocator.NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("case", BREAKING, ids=lambda case: case["rule"])
def test_a_fixture_breaks_its_rule_and_no_other_fault(case):
    found = findings(case)
    assert [one.rule for one in found if one.level != "note" or one.rule == case["rule"]] == [case["rule"]]
    finding = next(one for one in found if one.rule == case["rule"])
    for text in (finding.what, finding.why, finding.instead):
        assert text
        assert "{" not in text
        assert "not set" not in finding.instead
    assert finding.source
    for part in case.get("says", []):
        assert part in f"{finding.what} {finding.why} {finding.instead}"


def test_every_rule_has_a_fixture_and_a_source():
    assert {rule.id for rule in rules()} == {case["rule"] for case in BREAKING}
    assert len({rule.id for rule in rules()}) == len(rules())
    assert all(rule.source for rule in rules())


def test_rules_ask_for_keys_that_their_kinds_have():
    facts = {"gpus", "card", "card_bf16", "card_fp8", "torch", "torch_version"}
    for rule in rules():
        for name in rule.kinds:
            asked = expression.names(rule.when) - facts
            known = kinds.kind(name).keys if name != "allocator" else {key for key in asked if key.startswith("alloc_")}
            assert asked <= known, rule.id


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_good_files_are_silent(path, capsys):
    assert main(["doctor", "--torch", "2.11", "--device", "a100", str(path)]) == 0
    out = capsys.readouterr().out
    assert "rules broken" in out
    assert "note" not in out
    assert "[" not in out


def file(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(("name", "text", "said"), [
    ("a.yml", "base_model: x\n  y: 1\n", "line 2"),
    ("a.yml", "base_model: [x\n", "line 2"),
    ("a.yml", "base_model: x\n\tlr: 1\n", "tab"),
    ("a.yml", "", "empty"),
    ("a.yml", "# nothing\n", "nothing but comments"),
    ("a.yml", "- a\n- b\n", "a.yml: it holds a list"),
    ("a.json", '{"output_dir": "x",}', "line 1"),
    ("a.json", '{"output_dir": ', "line 1"),
    ("a.json", "[1]", "a.json: it holds a list"),
    ("a.bin", b"\xff\xfe\x00", "no text"),
    ("a.yml", "colour: red\nshape: round\n", "like none of"),
    ("ds.json", '{"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": 1}', "DeepSpeed"),
    ("run.sh", "python train.py\n", "sets no PYTORCH_ALLOC_CONF"),
])
def test_broken_files_say_what_is_wrong_and_where(tmp_path, capsys, name, text, said):
    assert main(["doctor", file(tmp_path, name, text)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("gapless: doctor: ")
    assert "Traceback" not in err


def test_a_missing_file(tmp_path, capsys):
    assert main(["doctor", str(tmp_path / "none.yml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_nothing_to_look_at(capsys):
    assert main(["doctor"]) == 2
    assert "no file given" in capsys.readouterr().err


def test_unknown_and_outdated_keys(tmp_path, capsys):
    path = file(tmp_path, "a.json", '{"output_dir": "x", "evaluation_strategy": "no", "learning_rte": 1e-4, "qqq": 1}')
    assert main(["doctor", path]) == 1
    out = capsys.readouterr().out
    assert "eval_strategy" in out
    assert "learning_rate, if that was meant" in out
    assert "qqq is not known" in out
    assert "leave it out" in out


@pytest.mark.parametrize(("name", "text"), [("a.yml", "base_model: x\nlearning_rate: 1\nmicro_batch_size: 1\ngradient_accumulation_steps: 1\nlearning_rate: 2\n"),
                                            ("a.json", '{"output_dir": "x", "learning_rate": 1, "learning_rate": 2}')])
def test_a_key_that_stands_twice(tmp_path, capsys, name, text):
    assert main(["doctor", file(tmp_path, name, text)]) == 1
    assert "learning_rate stands in the file more than once" in capsys.readouterr().out


def test_strings_in_scripts(tmp_path, capsys):
    text = ("#!/bin/sh\n# PYTORCH_ALLOC_CONF=expandable_segments:true\nexport PYTORCH_ALLOC_CONF=expandable_segments:True,"
            "roundup_power2_divisions:16\n")
    assert main(["doctor", "--torch", "2.11", file(tmp_path, "run.sh", text)]) == 1
    out = capsys.readouterr().out
    assert "line 3: roundup_power2_divisions beside" in out
    script = 'os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:true"\n'
    assert main(["doctor", "--torch", "2.11", file(tmp_path, "train.py", script)]) == 1
    assert "alloc-bad-boolean" in capsys.readouterr().out


def test_json_holds_all(tmp_path, capsys):
    path = file(tmp_path, "a.yml", "base_model: x\nbatch_size: 8\nmicro_batch_size: 2\npad_to_sequence_len: true\n")
    assert main(["doctor", "--json", "--gpus", "2", path]) == 1
    found = json.loads(capsys.readouterr().out)["doctor"]
    assert [one["rule"] for one in found[0]["findings"]] == ["axolotl-batch-size"]


def test_the_environment_is_looked_at(monkeypatch, capsys):
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    assert main(["doctor", "--torch", "2.11"]) == 0
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segment:True")
    assert main(["doctor", "--torch", "2.11"]) == 1
    assert "expandable_segments" in capsys.readouterr().out


@pytest.mark.parametrize("device", ["rtx4091", "fast"])
def test_an_unknown_card(device, capsys):
    assert main(["doctor", "--device", device, "x.yml"]) == 2
    assert "known: rtx3060" in capsys.readouterr().err


def test_cards():
    assert cards.find("NVIDIA A100 80GB").name == "a100-80g"
    assert cards.find("24GiB").usable == 24 << 30
    assert cards.find("1.5g").usable == 3 << 29
    assert 0 < cards.find("t4").context < cards.find("t4").capacity
    assert all(card.source.startswith("https://") for card in cards.table().values())


@pytest.mark.parametrize("text", ["__import__('os')", "a.b()", "[x for x in y]", "lambda: 1", "open('x')", "f'{a}'", "a[0]"])
def test_rules_can_compute_and_nothing_more(text):
    with pytest.raises(expression.BadRule):
        expression.evaluate(text, {"a": {"b": 1}, "y": [1]})


def test_expressions():
    facts = {"a": 3, "b": {"c": True}, "t": "flash_attention_2"}
    assert expression.evaluate("a > 2 and b.c == True and 'flash' in t and nothing is None", facts) is True
    assert expression.evaluate("b.c.d", facts) is None
    assert expression.render("{a + 1} {missing} {b.c} {a // 0}", facts) == "4 not set true a // 0"


def test_rules_are_printed(capsys):
    assert main(["doctor", "--rules"]) == 0
    assert capsys.readouterr().out.count("\n") == 4 * len(rules())


def test_the_page_of_the_rules_is_current():
    from gapless.doctor.page import page

    written = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert written == page(), "python -m gapless.doctor.page > docs/doctor.md"


@pytest.mark.parametrize(("line", "string"), [
    ('export PYTORCH_ALLOC_CONF="expandable_segments:True, max_split_size_mb:128"', "expandable_segments:True, max_split_size_mb:128"),
    ("ENV PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128", "max_split_size_mb:128"),
    ("os.environ['PYTORCH_ALLOC_CONF'] = 'expandable_segments:True'  # PYTORCH_ALLOC_CONF=backend:native", "expandable_segments:True"),
    ("  # PYTORCH_ALLOC_CONF=backend:native", None), ("x = 1  # PYTORCH_ALLOC_CONF=backend:native", None),
    ("url = 'http://x#y'; os.putenv('PYTORCH_ALLOC_CONF', 'backend:native')", "backend:native"),
    ("PYTORCH_ALLOC_CONF=expandable_segments=True python train.py", "expandable_segments=True"),
    ('print(os.environ["PYTORCH_ALLOC_CONF"])', None)])
def test_strings_are_found_in_lines(line, string):
    assert [one[2] for one in allocator.in_text(line)] == ([] if string is None else [string])


def test_an_equals_sign_is_no_colon(tmp_path, capsys):
    assert main(["doctor", "--torch", "2.11", file(tmp_path, "train.sh", "export PYTORCH_ALLOC_CONF=expandable_segments=True\n")]) == 1
    out = capsys.readouterr().out
    assert "alloc-no-value" in out
    assert "instead: expandable_segments:True" in out
    assert "alloc-unknown-key" not in out


@pytest.mark.parametrize(("name", "text"), [("a.json", '{"seed": %s}'), ("a.json", '{"seed": "%s"}'), ("a.yml", "seed: %s\n"), ("a.yml", "seed: '%s'\n")])
def test_numbers_of_thousands_of_digits_end_nothing(tmp_path, capsys, name, text):
    assert main(["doctor", "--kind", "training_arguments", "--torch", "2.11", file(tmp_path, name, text % ("9" * 5000))]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["9" * 301, "1" * 5000, "1" * 301 + ".5", "1e999"])
def test_what_no_number_of_a_trainer_can_be_stays_a_text(text):
    assert read._plain(text) == text
    assert read._plain("2e-5") == 2e-5


def test_findings_of_files_outlive_a_program_that_fails(tmp_path, capsys, monkeypatch):
    from gapless.doctor import running
    from gapless.fit.run import NoAnswer

    def fails(*_):
        raise NoAnswer("it failed")

    monkeypatch.setattr(running, "results", fails)
    script = file(tmp_path, "train.sh", "export PYTORCH_ALLOC_CONF=expandable_segments:true\n")
    assert main(["doctor", "--torch", "2.11", script, "--", "python", "t.py"]) == 2
    said = capsys.readouterr()
    assert "alloc-bad-boolean" in said.out
    assert "it failed" in said.err
