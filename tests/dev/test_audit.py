"""The look for known vulnerabilities, and the list of what production installs."""

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dev import audit, sbom
from dev.process import ROOT


def pip_audit_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program in the place of pip-audit, whose service cannot be asked everywhere."""
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(audit, "_COMMAND", [str(program)])


def answer(*dependencies: dict[str, object]) -> str:
    return f"echo '{json.dumps({'dependencies': dependencies})}'"


def test_a_known_vulnerability_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"id": "CVE-2020-1", "fix_versions": ["1.1"]}
    found = answer({"name": "a", "version": "1.0", "vulns": [known]})
    pip_audit_that(tmp_path, monkeypatch, f"{found}; exit 1")

    assert audit.main() == 1
    assert "a 1.0: CVE-2020-1, fixed in 1.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "longest", "words"),
    [
        ("echo 'no network' >&2; exit 1", 60, "could not ask PyPI"),
        (answer({"name": "a", "skip_reason": "not found"}), 60, "of 0 of 1 packages only"),
        ("exec sleep 60", 1, "could not ask PyPI"),
    ],
)
def test_a_service_that_cannot_be_asked_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    longest: int,
    words: str,
) -> None:
    monkeypatch.setattr(audit, "LONGEST_SECONDS", longest)
    pip_audit_that(tmp_path, monkeypatch, script)

    assert audit.main() == 0
    said = capsys.readouterr().out
    assert words in said
    assert said.count("\n") == 1


def test_nothing_known_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip_audit_that(tmp_path, monkeypatch, answer({"name": "a", "version": "1", "vulns": []}))

    assert audit.main() == 0
    assert capsys.readouterr().out == ""


def test_the_list_of_what_production_installs_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"

    assert sbom.main(str(file)) == 0

    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = {part["name"].lower() for part in json.loads(text)["components"]}
    pinned = (ROOT / "requirements/production.txt").read_text().splitlines()
    names = {
        line.split("==")[0].split("[")[0] for line in pinned if "==" in line and line[0] not in " #"
    }
    assert listed == names
    assert {"django", "celery", "cryptography"} <= listed
