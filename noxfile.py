"""The cells of `make test-matrix`: a Python and a Django each. `dev/matrix.py` runs them."""

import os

import nox

CELLS = [
    # Both of the oldest, with the oldest of all that the package names.
    nox.param("3.11", "5.2", "lowest-direct", id="3.11-5.2-oldest"),
    *(
        nox.param(python, django, "highest", id=f"{python}-{django}")
        for python, djangos in {
            "3.11": ("5.2",),  # later ones want Python 3.12
            "3.12": ("5.2", "6.0", "6.1"),
            "3.13": ("5.2", "6.0", "6.1"),
            "3.14": ("5.2", "6.0", "6.1"),
        }.items()
        for django in djangos
    ),
]


@nox.session(venv_backend="uv")
@nox.parametrize(("python", "django", "resolution"), CELLS)
def project(session: nox.Session, django: str, resolution: str) -> None:
    """Install the wheel as another project would, and test that project over HTTP."""
    session.install(
        *("--resolution", resolution),
        *("-r", "pyproject.toml", "--extra", "metrics", "--extra", "sandbox"),
        *(f"django~={django}.0", "psycopg[binary]", "gunicorn>=23"),
    )
    session.install("--no-deps", os.environ["WHEEL"])
    session.run(
        *(os.environ["TESTS_PYTHON"], "-m", "pytest", "-q", "--show-capture=no"),
        *(session.posargs or ["tests/standalone/test_standalone.py"]),
        env={"STANDALONE_PYTHON": f"{session.virtualenv.location}/bin/python"},
        external=True,
    )
