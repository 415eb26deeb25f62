"""The example of docs/reference/json-api.md fits the schema, and so do its codes."""

import json
import re

from jsonschema import Draft202012Validator

from dev.process import ROOT
from spotify_auth.web_api import errors

TEXT = (ROOT / "docs/reference/json-api.md").read_text()
SCHEMA = json.loads((ROOT / "docs/reference/dashboard-data.schema.json").read_text())


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_the_example_fits_the_schema() -> None:
    blocks = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    (example,) = [block for block in blocks if '"parts"' in block]

    Draft202012Validator(SCHEMA).validate(json.loads(example))


def test_every_error_of_the_web_api_has_a_documented_code() -> None:
    codes = {kind.code for kind in errors.WebApiError.__subclasses__()}

    documented = SCHEMA["$defs"]["part"]["oneOf"][2]["properties"]["code"]["enum"]
    assert set(documented) == codes
    assert all(f"`{code}`" in TEXT for code in codes)
