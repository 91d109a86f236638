"""Metrics, their document, the alerts and the dashboards, each held to what a real node exports."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live import REPOSITORY, START_S, LiveServer, wait_until
from tests.rpc.nodes import ask
from vecdb_client import InvalidArgument

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
GRAFANA = REPOSITORY / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
RULES = PROMETHEUS / "rules.yml"

ELSEWHERE = {"vecdb_tls_certificate_expiry_timestamp_seconds"}
"""Exported by nodes that are set up as those of these tests are not."""

SERIES = re.compile(r"\b((?:vecdb|grpc|process|python)_\w+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"\b(?:by|without) \(([^)]*)\)")
SUFFIXES = ("_bucket", "_count", "_sum")
SCRAPED = {"job", "instance", "le"}
"""Labels that Prometheus adds, and that of histograms."""

UNITS = {"short", "s", "bytes", "reqps", "ops", "percentunit", "none", "d"}

Family = tuple[str, frozenset[str]]
"""Type and labels."""


# --- what there is


def documented() -> dict[str, Family]:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (.*?) \| .+ \|$", (PROMETHEUS / "METRICS.md").read_text(), re.M
    )
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def exported(server: LiveServer) -> dict[str, Family]:
    """Return the families of /metrics; a family without a sample has no labels known."""
    _, body = ask(server, "/metrics")
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", body, re.M))
    labels: dict[str, set[str]] = {}
    for name, pairs in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", body, re.M):
        family = next(name.removesuffix(end) for end in SUFFIXES if name.removesuffix(end) in kinds)
        labels.setdefault(family, set()).update(re.findall(r'(\w+)="', pairs))
    return {
        name: (kind, frozenset(labels[name] - {"le"}) if name in labels else frozenset("?"))
        for name, kind in kinds.items()
        if not name.endswith("_created")
    }


def use(server: LiveServer) -> None:
    """Do a little of most things."""
    with server.client() as client:
        client.wait_ready(START_S, service="vecdb.v1.Models")
        books = client.create_collection("books", model="all-minilm-l6-v2")
        books.upsert([{"id": "dune", "text": "sand, and spice"}])
        assert len(books.search("desert")) == 1
        assert len(list(books.export())) == 1
        with pytest.raises(InvalidArgument):
            books.search([1.0])
        client.documents("books").put([{"id": "tea", "content": "Tea is made with boiling water."}])
        client.documents("books").context("How is tea made?")


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two workers"])
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    pytest.importorskip("onnxruntime", reason="needs the embed extra")
    settings = {"server.workers": request.param}
    server = LiveServer(tmp_path_factory.mktemp("metrics") / "data", settings).start()
    try:
        use(server)
        yield server
    finally:
        assert server.stop() == 0


# --- what is written about it


def test_the_document_says_what_a_node_exports(node: LiveServer) -> None:
    written, found = documented(), exported(node)
    several = {"vecdb_processes", "vecdb_process_restarts_total"}
    absent = ELSEWHERE | (several if node.settings["server.workers"] == 1 else set())
    assert written.keys() - found.keys() == absent
    assert found.keys() - written.keys() == set()
    for name, (kind, labels) in found.items():
        assert written[name][0] == kind, name
        assert labels == {"?"} or written[name][1] == labels, name


def test_what_clients_name_does_not_grow_without_bound(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = {"embed.enabled": "false", "metrics.collections": 2, "server.workers": 2}
    server = LiveServer(tmp_path_factory.mktemp("many") / "data", settings).start()
    with server.client() as client:
        for number in range(5):
            points = [{"id": f"{one}", "vector": [1]} for one in range(number + 1)]
            client.create_collection(f"c{number}", dim=1).upsert(points)

        def points_by_collection() -> dict[str, str]:
            _, body = ask(server, "/metrics")
            return dict(
                re.findall(r'^vecdb_collection_points\{collection="(.*)"\} (\S+)$', body, re.M)
            )

        assert points_by_collection() == {"c4": "5.0", "c3": "4.0", "(others)": "6.0"}
        client.delete_collection("c4")
        assert points_by_collection() == {"c3": "4.0", "c2": "3.0", "(others)": "3.0"}
    assert server.stop() == 0


# --- alerts and dashboards


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield f"{path.name}: {panel['title']}", panel


def expressions() -> Iterator[tuple[str, str, list[str]]]:
    """Yield where each expression stands, itself, and the labels that texts around it name."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            words = " ".join(rule["annotations"].values())
            yield rule["alert"], rule["expr"], re.findall(r"\$labels\.(\w+)", words)
    for where, panel in panels():
        for target in panel["targets"]:
            named = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            yield where, target["expr"], named


def without_variables(expression: str) -> str:
    """Return a panel's expression as Prometheus takes it."""
    for name, value in (("$__rate_interval", "1m"), ("$__range", "3h"), ("$instance", ".*")):
        expression = expression.replace(name, value)
    return expression


def test_alerts_and_dashboards_ask_for_what_there_is() -> None:
    known = documented()
    asked = 0
    for where, expression, named in expressions():
        labels: set[str] = set()
        for name, selector in SERIES.findall(GROUPED.sub("", expression)):
            family = next(
                (name.removesuffix(end) for end in SUFFIXES if name.removesuffix(end) in known),
                name,
            )
            assert family in known, f"{where}: {name}"
            kind, own = known[family]
            assert (family == name) == (kind != "histogram"), f"{where}: {name}"
            picked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert picked <= own | SCRAPED, f"{where}: {name} has no {picked - own - SCRAPED}"
            labels |= own
            asked += 1
        grouped = {one.strip() for found in GROUPED.findall(expression) for one in found.split(",")}
        assert grouped <= labels | SCRAPED, f"{where}: {grouped}"
        assert set(named) <= labels | SCRAPED, f"{where}: {named}"
        if "sum by (" not in expression and "sum(" in expression:
            assert named == [], f"{where}: a sum has no {named}"
    assert asked > 100


def test_every_panel_says_what_it_shows() -> None:
    titles = [where for where, _ in panels()]
    assert len(titles) == len(set(titles)) > 50
    for where, panel in panels():
        assert len(panel["description"]) > 15, where
        assert panel["description"].endswith("."), where
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, where
        assert panel["targets"], where
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, where


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_room(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == f"vecdb-{path.stem}"
    assert board["title"].startswith("vecdb ")
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))
    places = [panel["gridPos"] for panel in board["panels"]]
    for one in places:
        assert one["x"] + one["w"] <= 24
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


def test_grafana_is_told_where_things_are() -> None:
    assert {path.stem for path in DASHBOARDS} == {
        "embedding",
        "ingest",
        "overview",
        "search",
        "storage",
    }
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/vecdb.yml").read_text())
    compose = yaml.safe_load((REPOSITORY / "deploy/compose.yml").read_text())
    (source,), (provider,) = sources["datasources"], providers["providers"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
    mounted = dict(one.split(":")[:2] for one in compose["services"]["grafana"]["volumes"])
    assert mounted["./grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./grafana/provisioning"] == "/etc/grafana/provisioning"
    for path in DASHBOARDS:
        variables = json.loads(path.read_text())["templating"]["list"]
        chosen = {one["name"]: one for one in variables}
        assert chosen["datasource"]["current"]["value"] == source["uid"]
        assert chosen["instance"]["query"]["query"] == "label_values(vecdb_build_info, instance)"
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == ["vecdb:6364"]
    assert "vecdb" in compose["services"]


# --- a real Prometheus


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: apt-get install prometheus")
    return found


def promtool(*words: str | Path) -> str:
    ended = subprocess.run(
        [program("promtool"), *words],
        cwd=PROMETHEUS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_configuration_is_one() -> None:
    assert "1 rule files found" in promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint-fatal", "rules.yml")


def test_alerts_fire_when_they_should_and_not_before() -> None:
    promtool("test", "rules", "tests.yml")
    tested = yaml.safe_load((PROMETHEUS / "tests.yml").read_text())["tests"]
    asked = [one for test in tested for one in test["alert_rule_test"]]
    fires = {one["alertname"] for one in asked if "exp_alerts" in one}
    quiet = {one["alertname"] for one in asked if "exp_alerts" not in one}
    alerts = {where for where, _, _ in expressions() if ":" not in where}
    assert fires == quiet == alerts
    assert len(alerts) > 20


def test_the_expressions_of_dashboards_are_some(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": without_variables(expression)}
        for number, (_, expression, _) in enumerate(expressions())
    ]
    (tmp_path / "panels.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    )
    promtool("check", "rules", tmp_path / "panels.yml")


class Prometheus:
    """A Prometheus of our configuration, on another port, that scrapes a node often."""

    def __init__(self, folder: Path, node: LiveServer) -> None:
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [node.metrics]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(RULES, folder)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'tsdb'}",
                    "--web.listen-address=127.0.0.1:0",
                    "--log.level=info",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._is_ready, 60)
        except BaseException:
            self.stop()
            raise
        (self.address,) = re.findall(r'msg="Listening on" address=(\S+)', self._log.read_text())

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()[-2_000:]
        return "Server is ready to receive web requests" in self._log.read_text()

    def get(self, path: str, **words: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=30) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.get("query", query=expression)["result"]
        return found

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def prometheus(node: LiveServer, tmp_path: Path) -> Iterator[Prometheus]:
    made = Prometheus(tmp_path, node)
    yield made
    made.stop()


def test_prometheus_scrapes_a_node_and_judges_it(prometheus: Prometheus, node: LiveServer) -> None:
    wait_until(lambda: prometheus.query("up == 1"), 60)
    wait_until(lambda: float(prometheus.query("count_over_time(up[1m])")[0]["value"][1]) > 3, 60)

    def rules() -> list[Any]:
        groups = prometheus.get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] == "ok" for rule in rules()), 60)
    assert len(rules()) > 20
    assert [rule["name"] for rule in rules() if rule["state"] == "firing"] == []
    (points,) = prometheus.query("vecdb_points")
    assert float(points["value"][1]) >= 2
    assert points["metric"]["job"] == "vecdb"
    scraped = set(prometheus.get("label/__name__/values"))
    for name, (kind, labels) in exported(node).items():
        if labels != {"?"}:
            assert f"{name}_count" * (kind == "histogram") or name in scraped, name
    empty = [
        f"{where}: {expression}"
        for where, expression, _ in expressions()
        if not prometheus.query(without_variables(expression)) and ":" in where
    ]
    # Nothing of these has happened: no answers, no failures, no TLS, no HTTP.
    rest = re.compile(r"answer|failures|refused_items|tls|http_requests|process|state!=")
    assert [one for one in empty if not rest.search(one)] == []
