# SPDX-License-Identifier: Apache-2.0
"""The small language of rules.jsonl: comparisons and arithmetic over the keys of a configuration.

A name is a key, ``a.b`` the key b of the mapping a; what is not set is None. Texts are templates with expressions in braces.
Nothing else of Python is there: a rule can read, compare and compute, and nothing more.
"""

import ast
import functools
import math
import operator
import re


class BadRule(ValueError):
    """An expression that is none, or uses what the language does not have. A fault of the rule, not of the configuration."""


def whole(value: object) -> bool:
    """A positive whole number?"""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def power_of_two(value: object) -> bool:
    return whole(value) and value & (value - 1) == 0


_FUNCTIONS = {"whole": whole, "power_of_two": power_of_two, "ceil": math.ceil, "str": str, "int": int}
_BINARY = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
           ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod}
_COMPARE = {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
            ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
            ast.In: lambda a, b: b is not None and a in b, ast.NotIn: lambda a, b: b is None or a not in b}


@functools.cache
def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise BadRule(f"{text!r}: {error.msg}") from error


def names(text: str) -> set[str]:
    """The keys that an expression looks at, those of mappings as their first part."""
    return {node.id for node in ast.walk(_parse(text)) if isinstance(node, ast.Name)} - set(_FUNCTIONS)


def evaluate(text: str, facts: dict) -> object:
    """The value of the expression. TypeError, ValueError and ZeroDivisionError where the facts are of kinds that it cannot compute
    with; BadRule for what the language does not have."""
    return _value(_parse(text), facts)


def _value(node: ast.expr, facts: dict) -> object:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return facts.get(name)
        case ast.Attribute(value=of, attr=name):
            found = _value(of, facts)
            return found.get(name) if isinstance(found, dict) else None
        case ast.BoolOp(op=ast.And(), values=values):
            result: object = True
            for one in values:
                if not (result := _value(one, facts)):
                    break
            return result
        case ast.BoolOp(op=ast.Or(), values=values):
            result = False
            for one in values:
                if result := _value(one, facts):
                    break
            return result
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, facts)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_value(left, facts), _value(right, facts))
        case ast.Compare(left=left, ops=ops, comparators=others):
            here = _value(left, facts)
            for op, other in zip(ops, others, strict=True):
                there = _value(other, facts)
                if not _COMPARE[type(op)](here, there):
                    return False
                here = there
            return True
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _value(test, facts) else orelse, facts)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return [_value(one, facts) for one in elements]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(one, facts) for one in arguments))
    raise BadRule(f"{ast.unparse(node)}: rules do not have {type(node).__name__}")


def render(template: str, facts: dict) -> str:
    """The template with its expressions computed; one that cannot be computed is shown as it is written."""
    def one(found: re.Match) -> str:
        try:
            value = evaluate(found[1], facts)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            if isinstance(error, BadRule):
                raise
            return found[1].strip()
        # As YAML and JSON write them.
        if isinstance(value, bool):
            return str(value).lower()
        return "not set" if value is None else str(value)

    return re.sub(r"\{([^{}]+)\}", one, template)
