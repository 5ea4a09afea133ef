#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Removes each enforcement of each rule of docs/driver_contract.md in turn, and demands that a test of that rule fails.

    check_mutations.py --test CONTRACT_TEST --source src/driver --page docs/driver_contract.md

Nothing is built again: every enforcement goes through Common::violate or CheckedDriver::broken, which look whether
GAPLESS_CONTRACT_WITHOUT of the test names them, by rule or by source lines. The lines are read from the source, so a new
enforcement without a test fails here. The tests of all other rules must still pass: a rule may not lean on another one.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

CALL = re.compile(r"\b(?:violate|broken)\(")
RULE = re.compile(r'"([A-Z]+-[0-9]+)"')
PAGE_ROW = re.compile(r"^\| ([A-Z]+-[0-9]+) \|", re.MULTILINE)
PENDING = re.compile(r'check_pending\(\s*"([A-Z]+-[0-9]+)"')  # takes the rule as an argument: its callers name it


def end_of_call(text, at):
    """The index after the parenthesis that closes the one before `at`."""
    depth, in_string = 1, False
    while depth:
        if text[at] == '"' and text[at - 1] != "\\":
            in_string = not in_string
        if not in_string:
            depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at


def enforcements(folder):
    """[(rules, FILE:FIRST-LAST)] of every call in the sources that reports a broken rule."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted([folder / "checked_driver.cpp", *(folder / "sim").glob("*.cpp")])}
    pending = [rule for text in texts.values() for rule in PENDING.findall(text)]
    found = []
    for name, text in texts.items():
        for call in CALL.finditer(text):
            whole = text[call.start() : end_of_call(text, call.end())]
            rules = pending if whole.startswith("violate(rule, text(") else RULE.findall(whole)
            first = text.count("\n", 0, call.start()) + 1
            if rules and "const char*" not in whole:  # not the reporting functions themselves
                found.append((rules, f"{name}:{first}-{first + whole.count(chr(10))}"))
    return found


def failed_rules(test, without):
    """The rules whose tests fail when the referee lacks `without`."""
    result = subprocess.run([test, "--gtest_filter=*Rule*_eager", "--gtest_brief=1"], capture_output=True, text=True, timeout=120,
                            env={**os.environ, "GAPLESS_CONTRACT_WITHOUT": without}, check=False)  # fmt: skip
    if result.returncode not in (0, 1):
        sys.exit(f"without {without} the test ended with {result.returncode}:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    names = re.findall(r"\[  FAILED  \] Contract/Rule\.\w+/([A-Z]+_[0-9]+)", result.stdout)
    return {name.replace("_", "-") for name in names}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", required=True)
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--page", type=pathlib.Path, required=True)
    args = parser.parse_args()

    page = PAGE_ROW.findall(args.page.read_text(encoding="utf-8"))
    places = enforcements(args.source)
    mutations = [([rule], rule) for rule in page] + places
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        failed = list(pool.map(lambda mutation: failed_rules(args.test, mutation[1]), mutations))
    mistakes = [f"without anything removed, {rule} fails" for rule in failed_rules(args.test, "")]
    for (rules, without), broken in zip(mutations, failed):
        if not broken:
            mistakes.append(f"without {without} ({', '.join(rules)}) every test passes")
        elif not broken <= set(rules):
            mistakes.append(f"without {without} ({', '.join(rules)}) tests of {sorted(broken - set(rules))} fail too")
    unenforced = set(page) - {rule for rules, _ in places for rule in rules}
    mistakes += [f"{rule} is enforced nowhere in {args.source}" for rule in sorted(unenforced)]
    for mistake in mistakes:
        print(mistake)
    print(f"{len(page)} rules and {len(places)} enforcements removed in turn: {len(mistakes)} mistakes")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
