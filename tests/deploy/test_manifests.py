"""What lies in deploy/: linted by the tools of each kind, and held against the program itself.

No container engine is where these were written: that they parse, are of their schemas, and name
settings, commands, ports and files that exist, is what is checked here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vecdb.config import load

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = ("1.29", "1.37")
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yml"))
CONTAINERFILE = DEPLOY / "Containerfile"


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def resources() -> Iterator[Any]:
    for path in MANIFESTS:
        yield from documents(path)


def tool(name: str) -> str:
    """Return a program that a test's package brought beside Python."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


# --- container


def test_containerfile_is_clean() -> None:
    linted = run(tool("hadolint"), CONTAINERFILE)
    assert linted.returncode == 0, linted.stdout


def test_the_lint_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text("FROM debian\nRUN cd /tmp && sudo ls\nCMD vecdb\n")
    assert "DL3006" in run(tool("hadolint"), tmp_path / "Containerfile").stdout


def instructions() -> list[str]:
    lines = CONTAINERFILE.read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_image_is_closed() -> None:
    said = instructions()
    final = said[max(n for n, line in enumerate(said) if line.startswith("FROM")) :]
    assert all(":" in line for line in said if line.startswith("FROM"))
    assert "ARG USER_ID=65532" in final
    assert "USER ${USER_ID}:${USER_ID}" in final
    assert 'ENTRYPOINT ["python3", "-P", "-m", "vecdb"]' in final  # exec form: signals arrive
    (health,) = [line for line in final if line.startswith("HEALTHCHECK")]
    assert health.endswith('CMD ["python3", "-P", "-m", "vecdb", "health"]')
    assert any("HNSWLIB_NO_NATIVE=1" in line for line in said)


def test_the_image_is_made_of_what_is_there() -> None:
    kept = [
        line[1:]
        for line in (ROOT / ".containerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for name in kept:
        assert (ROOT / name).exists(), name
    for line in instructions():
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert any(name.startswith(source) or source == name for name in kept), source


# --- settings that are named


def environment(text: str) -> dict[str, str]:
    """Return the settings among the environment variables of a file."""
    pairs = re.findall(r'name: (VECDB_\w+), value: "?([^"}\n]*)"?', text)
    pairs += re.findall(r'^\s+(VECDB_\w+)[:=] ?"?([^"\\\n]*?)"?(?: \\)?$', text, re.MULTILINE)
    return dict(pairs)


@pytest.mark.parametrize(
    "path", [CONTAINERFILE, DEPLOY / "compose.yml", *MANIFESTS], ids=lambda path: path.name
)
def test_the_settings_exist(path: Path) -> None:
    text = path.read_text()
    found = environment(text)
    assert set(re.findall(r"VECDB_(?:SERVER|EMBED|STORAGE|LIMITS|AUTH)_\w+", text)) <= set(found)
    load(None, found, {})


def test_the_sidecar_is_one_process_on_a_socket() -> None:
    (pod,) = [
        one["spec"]["template"]["spec"]
        for one in documents(DEPLOY / "kubernetes" / "sidecar.yml")
        if one["kind"] == "StatefulSet"
    ]
    (vecdb,) = pod["initContainers"]
    config = load(None, {each["name"]: each["value"] for each in vecdb["env"]}, {})
    assert config.server.workers == 1
    assert config.server.listen.startswith("unix:")
    (app,) = pod["containers"]
    addresses = {
        each["value"]
        for container in (vecdb, app)
        for each in container["env"]
        if each["name"] == "VECDB_ADDRESS"
    }
    assert addresses == {config.server.listen}
    folders = {mount["mountPath"] for mount in app["volumeMounts"]}
    assert str(Path(config.server.listen.removeprefix("unix:")).parent) in folders


# --- compose


def check_compose(text: str) -> None:
    compose_spec = pytest.importorskip("compose_spec")
    compose = compose_spec.PyCompose.from_yaml(text)
    compose.validate()


def test_compose_is_of_its_specification() -> None:
    check_compose((DEPLOY / "compose.yml").read_text())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("read_only: true", "read_olny: true"),
        ("interval: 10s", "interval: 10 parsecs"),
        ("mem_limit: 4g", "mem_limit: much"),
    ],
)
def test_a_compose_file_that_is_wrong(right: str, wrong: str) -> None:
    text = (DEPLOY / "compose.yml").read_text()
    assert right in text
    with pytest.raises(ValueError, match=r"."):
        check_compose(text.replace(right, wrong))


def test_compose_publishes_on_loopback_and_limits_everything() -> None:
    (compose,) = documents(DEPLOY / "compose.yml")
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["mem_limit"], name
        assert not service["image"].endswith(":latest")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert "healthcheck" in service or "build" in service, name  # the image has its own


def test_what_compose_mounts_is_there() -> None:
    (compose,) = documents(DEPLOY / "compose.yml")
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).is_dir(), source
                assert any((DEPLOY / source).iterdir()), source
            else:
                assert source in compose["volumes"]


# --- Kubernetes


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_of_their_schemas(path: Path, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in documents(path):
        validate.validate(document, version, strict=True)


def test_a_manifest_that_is_wrong() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    (wrong,) = documents(DEPLOY / "kubernetes" / "statefulset.yml")
    wrong["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_kustomize_lists_them() -> None:
    (listed,) = documents(DEPLOY / "kubernetes" / "kustomization.yaml")
    named = {path.name for path in MANIFESTS} - {"sidecar.yml"}
    assert set(listed["resources"]) == named


def test_pods_are_restricted() -> None:
    """As the profile `restricted` of Pod Security asks, and a read-only root."""
    pods = [one["spec"]["template"]["spec"] for one in resources() if one["kind"] == "StatefulSet"]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_selectors_find_the_pods() -> None:
    found = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in resources()}
    labels = found["StatefulSet", "vecdb"]["template"]["metadata"]["labels"]
    for kind, name in (("Service", "vecdb"), ("Service", "vecdb-nodes")):
        assert found[kind, name]["selector"] == labels
    assert found["StatefulSet", "vecdb"]["selector"]["matchLabels"] == labels
    assert found["PodDisruptionBudget", "vecdb"]["selector"]["matchLabels"] == labels
    assert found["NetworkPolicy", "vecdb"]["podSelector"]["matchLabels"] == labels
    assert found["StatefulSet", "vecdb"]["serviceName"] == "vecdb-nodes"


# --- wheels


def test_wheels_are_built_for_every_python_and_processor() -> None:
    """By cibuildwheel's own reading of pyproject.toml."""
    command = [tool("cibuildwheel"), "--print-build-identifiers", "--platform", "linux"]
    listed = run(*command, "--archs", "x86_64,aarch64", ROOT)
    assert listed.returncode == 0, listed.stderr
    assert set(listed.stdout.split()) == {
        f"{python}-manylinux_{machine}"
        for python in ("cp311", "cp312", "cp313")
        for machine in ("x86_64", "aarch64")
    }


def test_builds_are_for_any_processor() -> None:
    """Wherever hnswlib is built, it is told not to take the machine's own instructions."""
    wheels = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    assert wheels["environment"]["HNSWLIB_NO_NATIVE"] == "1"
    for path in (CONTAINERFILE, ROOT / "scripts" / "image_size.sh", ROOT / "Makefile"):
        assert "HNSWLIB_NO_NATIVE=1" in path.read_text(), path
    assert "march" not in re.sub(r"#.*", "", (ROOT / "CMakeLists.txt").read_text())


# --- systemd


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    unit = (DEPLOY / "systemd" / "vecdb.service").read_text()
    path = tmp_path / "vecdb.service"
    path.write_text(unit.replace("/opt/vecdb/bin/vecdb", "/bin/true"))
    verified = run(analyze, "verify", path)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    path.write_text(path.read_text().replace("ProtectHome=yes", "ProtectHome=indeed"))
    assert "protect home" in run(analyze, "verify", path).stderr


def test_the_unit_exposes_little() -> None:
    rated = run(
        tool("systemd-analyze"),
        "security",
        "--offline=true",
        "--threshold=20",
        DEPLOY / "systemd" / "vecdb.service",
    )
    assert rated.returncode == 0, rated.stdout[-500:]
