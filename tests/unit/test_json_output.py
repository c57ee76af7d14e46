"""What `--json` prints: one object, keys in snake_case whatever the file spelled (design R7)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from offset_engine.json_fields import Kind
from offset_tui import __main__ as offset
from tests.covers import covers
from tests.unit.test_files_kinds import EXAMPLES


def keys(value: Any) -> set[str]:
    """Every key at any depth."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


@covers("CTL-37", "MGR-11")
@pytest.mark.parametrize("kind", EXAMPLES)
def test_inspect_names_every_field_in_snake_case(
    kind: Kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "artifact"
    path.write_text(json.dumps(EXAMPLES[kind]))
    offset.main(["inspect", "--json", str(path)])
    found = keys(json.loads(capsys.readouterr().out))
    assert found
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", one) for one in found), found


def test_info_names_every_field_in_snake_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert offset.main(["info", "--json"]) == 0
    found = keys(json.loads(capsys.readouterr().out))
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", one) for one in found), found
