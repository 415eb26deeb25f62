"""deploy/: what is in there runs the Procfile's commands with the settings of .env.example.

Each kind has a checker: systemd-analyze, hadolint, the schemas of compose and of Kubernetes.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from django.test import Client

from config.settings import env as service
from dev import debian
from dev.process import ROOT
from spotify_auth.conf import DEFAULTS
from spotify_auth.refresh.saved_grants import RESCUE_SECONDS
from spotify_auth.schedule import longest_exchange

DEPLOY = ROOT / "deploy"
UNITS = DEPLOY / "systemd"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
HOW_TO = (ROOT / "docs/how-to/deploy.md").read_text()
PYTHON = Path(sys.executable).parent


def procfile() -> dict[str, str]:
    """The Procfile's commands."""
    return dict(re.findall(r"^(\w+): (.+)$", (ROOT / "Procfile").read_text(), re.MULTILINE))


def manifests(kind: str = "") -> Iterator[dict[str, Any]]:
    """The objects of the Kubernetes manifests, of one kind or all."""
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for each in yaml.safe_load_all(file.read_text()):
            if not kind or each["kind"] == kind:
                yield each


def workloads() -> dict[str, dict[str, Any]]:
    """The pods of the Kubernetes manifests, by their part."""
    return {
        each["metadata"]["labels"]["part"]: each["spec"]["template"]["spec"]
        for kind in ("Deployment", "Job")
        for each in manifests(kind)
    }


def lines_of(text: str, key: str) -> list[str]:
    """What a key of a unit, or of an environment file, is set to."""
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def as_one_line(command: list[str]) -> str:
    """A command as the Procfile would have it: a shell that only expands a variable is left out."""
    if command[:2] == ["sh", "-c"]:
        return command[2].removeprefix("exec ")
    return " ".join(command)


class Systemd:
    """The units."""

    drop_in: ClassVar = (UNITS / "keeper-.service.d/service.conf").read_text()

    def commands(self) -> dict[str, str]:
        found = {}
        for file in UNITS.glob("keeper-*.service"):
            (command,) = lines_of(file.read_text(), "ExecStart")
            command = command.removeprefix("/srv/keeper/.venv/bin/")
            # systemd has no default for a variable: the unit gives it.
            for name, default in re.findall(
                r"^Environment=(WORKER_\w+)=(\w+)$", file.read_text(), re.MULTILINE
            ):
                command = command.replace(f"${{{name}}}", f"${{{name}:-{default}}}")
            command = command.removesuffix(" --hostname worker%i@%H")  # else two had one name
            found[re.sub(r"keeper-(\w+).*", r"\1", file.name)] = command
        return found

    def settings(self) -> dict[str, str]:
        text = self.drop_in + (UNITS / "keeper-web.service").read_text()
        set_here = [line for line in lines_of(text, "Environment") if "PYTHON" not in line]
        return example_settings() | dict(line.split("=", 1) for line in set_here)

    def stop_seconds(self) -> dict[str, float]:
        return {
            name: float(
                lines_of((UNITS / f"keeper-{file}.service").read_text(), "TimeoutStopSec")[0]
            )
            for name, file in (("web", "web"), ("worker", "worker@"))
        }


class Compose:
    """The compose file. Its merge keys are resolved already."""

    def commands(self) -> dict[str, str]:
        names = {"web": "web", "worker": "worker", "beat": "beat", "migrate": "release"}
        return {
            called: as_one_line(
                COMPOSE["services"][name].get("command", dockerfile("CMD"))
            ).replace("$$", "$")
            for name, called in names.items()
        }

    def settings(self) -> dict[str, str]:
        given: dict[str, str] = COMPOSE["services"]["web"]["environment"]
        return example_settings() | given

    def stop_seconds(self) -> dict[str, float]:
        return {
            name: float(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s"))
            for name in ("web", "worker")
        }


class Kubernetes:
    """The manifests."""

    def commands(self) -> dict[str, str]:
        return {
            {"migrate": "release"}.get(part, part): as_one_line(pod["containers"][0]["command"])
            for part, pod in workloads().items()
        }

    def settings(self) -> dict[str, str]:
        (settings,) = manifests("ConfigMap")
        found: dict[str, str] = settings["data"]
        return found

    def stop_seconds(self) -> dict[str, float]:
        pods = workloads()
        return {name: pods[name]["terminationGracePeriodSeconds"] for name in ("web", "worker")}


KINDS = [Systemd(), Compose(), Kubernetes()]


def example_settings() -> dict[str, str]:
    text = (DEPLOY / "keeper.env.example").read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def dockerfile(instruction: str) -> list[str]:
    """The only instruction of this name in the Dockerfile, which is written as a list."""
    (found,) = re.findall(rf"^{instruction} (\[.+\])$", dockerfile_text(), re.MULTILINE)
    words: list[str] = yaml.safe_load(found)
    return words


def dockerfile_text() -> str:
    """The Dockerfile, each instruction on one line."""
    return (DEPLOY / "Dockerfile").read_text().replace("\\\n", "")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
class TestEveryKind:
    def test_runs_the_commands_of_the_procfile(self, kind: Any) -> None:
        expected = procfile()
        if isinstance(kind, Systemd):
            del expected["release"]  # by hand: keeper-manage migrate

        assert kind.commands() == expected

    def test_names_settings_of_the_service_alone(self, kind: Any) -> None:
        known = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

        for name in kind.settings():
            plain = name.removesuffix("_FILE")
            assert plain in known
            # A secret is in a file, and only a secret can be.
            assert (plain in service.secrets) == name.endswith("_FILE"), name

    def test_starts_with_the_secrets_that_the_page_makes(self, kind: Any, tmp_path: Path) -> None:
        """Only what is named here: a required setting that is missing stops the process."""
        scripts = re.findall(r"```sh\n(.*?)```", HOW_TO.split("## systemd")[0], re.DOTALL)
        for script in scripts:
            subprocess.run(["/bin/sh", "-euc", script], cwd=tmp_path, check=True)
        settings = {
            name: str(tmp_path / "secrets" / Path(value).name) if name.endswith("_FILE") else value
            for name, value in kind.settings().items()
        }

        ended = subprocess.run(
            [sys.executable, "-c", "import config.settings"],
            env={"ENV_FILE": "/dev/null", **settings},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

        assert ended.returncode == 0, ended.stderr

    def test_stops_a_process_no_sooner_than_it_has_ended(self, kind: Any) -> None:
        deadline = DEFAULTS["TOKEN_ENDPOINT_DEADLINE_SECONDS"]

        for seconds in kind.stop_seconds().values():
            assert seconds > longest_exchange(deadline) + RESCUE_SECONDS


@pytest.fixture(scope="module")
def analyze() -> debian.Program:
    try:
        return debian.find_or_fetch("systemd-analyze", package="systemd")
    except debian.Unavailable as reason:
        pytest.skip(f"systemd-analyze: {reason}")


class TestSystemd:
    @pytest.fixture
    def host(self, tmp_path: Path) -> Path:
        """The units, and what they look for, as they are installed."""
        shutil.copytree(UNITS, tmp_path / "etc/systemd/system")
        for target in ("sysinit", "basic", "shutdown", "network-online", "multi-user"):
            unit = tmp_path / "etc/systemd/system" / f"{target}.target"
            unit.write_text(f"[Unit]\nDescription={target}\n")
        for name in ("gunicorn", "celery"):
            program = tmp_path / "srv/keeper/.venv/bin" / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text("#!/bin/sh\n")
            program.chmod(0o755)
        return tmp_path

    def ask(self, analyze: debian.Program, *words: str | Path) -> subprocess.CompletedProcess[str]:
        units = ["keeper-web.service", "keeper-worker@1.service", "keeper-beat.service"]
        return subprocess.run(
            [analyze.path, *words, *units],
            env=analyze.env,
            capture_output=True,
            text=True,
            check=False,
        )

    def test_systemd_understands_every_line(self, analyze: debian.Program, host: Path) -> None:
        checked = self.ask(analyze, "verify", "--man=no", f"--root={host}")

        assert (checked.returncode, checked.stderr) == (0, "")

    def test_the_processes_are_shut_in(self, analyze: debian.Program, host: Path) -> None:
        """Two of ten points at most: what is open is the network, and little else."""
        checked = self.ask(
            analyze, "security", "--offline=true", "--threshold=20", "--no-pager", f"--root={host}"
        )

        assert checked.returncode == 0, checked.stdout
        assert checked.stdout.count("Overall exposure level") == 3


class TestImage:
    def test_hadolint_finds_nothing(self) -> None:
        checked = subprocess.run(
            [PYTHON / "hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile"],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (checked.returncode, checked.stdout) == (0, "")

    def test_what_is_copied_is_the_whole_service_and_nothing_else(self, tmp_path: Path) -> None:
        """The files that Docker would copy: the static files are collected, and it starts."""
        ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split("\n")
        sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
        assert "*" in ignored  # all else stays outside: .env, .git and .local
        last_stage = dockerfile_text().rsplit("FROM ", 1)[1]
        for source, target in re.findall(r"^COPY ([\w.]+) (\S+)$", last_stage, re.MULTILINE):
            assert source in sent
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source,
                    tmp_path / target,
                    ignore=shutil.ignore_patterns("__pycache__", "sandbox"),
                )
            else:
                shutil.copy(ROOT / source, tmp_path / target)
        assert "spotify_auth/sandbox" in ignored
        (collect,) = re.findall(r"^RUN (.*collectstatic.*)$", last_stage, re.MULTILINE)

        for command in (collect, collect.replace("collectstatic --noinput", "check --deploy")):
            ended = subprocess.run(
                ["/bin/sh", "-c", command],
                env={"PATH": f"{PYTHON}:/usr/bin:/bin"},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr
        assert list((tmp_path / "staticfiles").glob("staticfiles.json"))

    def test_no_secret_is_in_a_layer(self) -> None:
        """The settings of the one line that needs some are made there, and end there."""
        text = dockerfile_text()

        assert not re.search(r"^(ENV|ARG) .*(SECRET|KEY|PASSWORD|TOKEN|_URL)", text, re.MULTILINE)
        assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
        assert "--require-hashes -r /production.txt" in text


class TestCompose:
    def test_has_the_form_that_compose_wants(self) -> None:
        checked = subprocess.run(
            [
                *(PYTHON / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
                DEPLOY / "compose.yaml",
            ],
            capture_output=True,
            text=True,
            check=False,
        )

        assert checked.returncode == 0, checked.stdout

    def test_every_secret_is_declared_and_given(self) -> None:
        for name, each in COMPOSE["services"].items():
            given = {f"/run/secrets/{secret}" for secret in each.get("secrets", [])}
            used = {value for value in str(each).split("'") if value.startswith("/run/secrets/")}
            assert used == given, name
            assert set(each.get("secrets", [])) <= set(COMPOSE["secrets"])


class TestKubernetes:
    def test_the_schemas_of_kubernetes_hold(self) -> None:
        for each in manifests():
            kubernetes_validate.validate(each, "1.37", strict=True)

    @pytest.mark.django_db
    def test_the_probes_lead_to_the_health_checks(self, client: Client) -> None:
        probes = [
            container[kind]["httpGet"]
            for pod in workloads().values()
            for container in pod["containers"]
            for kind in ("livenessProbe", "readinessProbe")
            if kind in container
        ]
        (health_check,) = re.findall(r"http://127.0.0.1:8000(/\w+)'", dockerfile_text())

        assert [urlsplit(probe["path"]).path for probe in probes] == ["/livez", "/readyz"]
        for address in [*(probe["path"] for probe in probes), health_check]:
            assert client.get(address).status_code == 200, address

    def test_every_pod_is_locked_in(self) -> None:
        for pod in workloads().values():
            (container,) = pod["containers"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert not pod["automountServiceAccountToken"]

    def test_every_selector_finds_its_pods(self) -> None:
        labels = [
            each["spec"]["template"]["metadata"]["labels"] for each in manifests("Deployment")
        ]
        for kind in ("Deployment", "PodDisruptionBudget"):
            for each in manifests(kind):
                assert each["spec"]["selector"]["matchLabels"] in labels
        for each in manifests("Service"):
            assert each["spec"]["selector"] in labels
