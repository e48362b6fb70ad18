"""Each alert can fire and can be silent, says what to do, shows where to look, and asks for metrics that exist."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.telemetry import metrics
from gateway.telemetry.metrics import Kind, Spec
from tests.deploy import grafana, rules
from tests.support import tree
from tests.support.prometheus import Promtools

SEVERITIES = {"critical", "warning", "info"}
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}
RUNBOOK = tree.ROOT / "docs" / "runbook.md"
ALERTMANAGER = tree.ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
NAME = re.compile(r"(?:\w+:)?torii[\w:]*")
#: What follows ``{``, ``(`` or ``,`` and is compared is a label; what is in a by clause is too.
MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
#: The alerts that a test of the rules looks at: a name, or a pattern of names.
NAMED = re.compile(r'alertname=~?"([^"]+)"')
LEGS = {Kind.HISTOGRAM: ("_bucket", "_count", "_sum")}
#: Labels that Prometheus itself gives, or that a query makes.
GIVEN = {"job", "instance", "le", "alertname", "alertstate", "severity"}


def series(spec: Spec) -> list[str]:
    """Return the names under which Prometheus knows a metric."""
    return [f"{spec.name}{leg}" for leg in LEGS.get(spec.kind, ("",))]


def unknown_names(expression: str) -> list[str]:
    """Return what a query asks for that neither Torii shows nor a rule records."""
    known = {name for spec in metrics.SPECS for name in series(spec)} | rules.records()
    bare = re.sub(r'"[^"]*"', '""', expression)
    return [name for name in NAME.findall(bare) if name not in known]


def unknown_labels(expression: str) -> list[str]:
    """Return labels that a query compares and that no metric of the house has."""
    known = {label for spec in metrics.SPECS for label in spec.labels} | GIVEN
    return [label for label in MATCHED.findall(expression) if label not in known]


def page(anchor: str) -> str:
    """Return the runbook's text below the heading with that anchor, empty when there is none."""
    for part in re.split(r"^## ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        if re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") == anchor:
            return text
    return ""


@pytest.mark.parametrize("rule", rules.all_rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_ask_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    """Each name in a rule is a metric of the house or another rule's, and each label it compares is one of theirs."""
    assert unknown_names(rule["expr"]) == []
    assert unknown_labels(rule["expr"]) == []


def test_panels_ask_for_metrics_that_exist() -> None:
    """Each name in a panel is a metric of the house or a rule's, and each label it compares is one of theirs."""
    found = [
        f"{question.name}: {fault}"
        for question in grafana.questions()
        for fault in (*unknown_names(question.expression), *unknown_labels(question.expression))
    ]
    assert not found, tree.listed(found)


@pytest.mark.parametrize("name", rules.alerts())
def test_alerts_are_whole(name: str) -> None:
    """Each alert has a severity that Alertmanager's example routes, and all of its annotations."""
    rule = rules.alerts()[name]
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == ANNOTATIONS


@pytest.mark.parametrize("name", rules.alerts())
def test_alerts_have_their_page(name: str) -> None:
    """Each alert leads to a page of the runbook that names it, says what it means, where to begin, and the fix."""
    where = urlsplit(rules.alerts()[name]["annotations"]["runbook_url"])
    assert where.path == "docs/runbook.md"
    text = page(where.fragment)
    missing = [word for word in (f"`{name}`", "**Meaning.**", "**First.**", "**Fix.**") if word not in text]
    assert missing == []


@pytest.mark.parametrize("name", rules.alerts())
def test_alerts_show_a_panel(name: str) -> None:
    """Each alert leads to a panel that exists, and that panel leads to the same page of the runbook."""
    rule = rules.alerts()[name]
    where = urlsplit(rule["annotations"]["dashboard_url"])
    board = grafana.shipped()[where.path.removeprefix("/d/")]
    number = int(parse_qs(where.query)["viewPanel"][0])
    panel = next(each for each in board["panels"] if each["id"] == number)
    anchors = {urlsplit(link["url"]).fragment for link in panel.get("links", [])}
    assert urlsplit(rule["annotations"]["runbook_url"]).fragment in anchors, panel["title"]


@pytest.mark.parametrize("name", rules.alerts())
def test_alerts_are_tested_both_ways(name: str) -> None:
    """Each alert is seen to fire, and seen not to, by the tests that promtool runs."""
    cases = [question for case in rules.tests() for question in case.get("promql_expr_test", ())]
    about = [
        question for question in cases if any(re.fullmatch(each, name) for each in NAMED.findall(question["expr"]))
    ]
    assert [question for question in about if question["exp_samples"]], "it is never seen to fire"
    assert [question for question in about if not question["exp_samples"]], "it is never seen to be silent"


def test_promtool_takes_the_rules(promtools: Promtools) -> None:
    """Prometheus' own checker takes the rules and the configuration that names them."""
    promtools.check("promtool", "check", "rules", *map(str, rules.RULES))
    promtools.check("promtool", "check", "config", "--syntax-only", str(rules.FOLDER / "prometheus.yml"))


def test_the_rules_do_what_their_tests_say(promtools: Promtools) -> None:
    """The rules pass their own tests, which promtool runs."""
    promtools.check("promtool", "test", "rules", *map(str, rules.TESTS))


def test_amtool_takes_the_example(promtools: Promtools) -> None:
    """Alertmanager's own checker takes the example, with its templates."""
    promtools.check("amtool", "check-config", str(ALERTMANAGER))


def test_the_example_names_alerts_that_exist() -> None:
    """What the example keeps quiet behind something else are alerts of ours."""
    named = set(re.findall(r"Torii\w+", ALERTMANAGER.read_text()))
    assert named
    assert named - set(rules.alerts()) == set()


def test_links_of_panels_lead_somewhere() -> None:
    """Each panel's link to the runbook leads to a heading of it."""
    anchors = {
        urlsplit(link["url"].replace("${runbook}", "")).fragment
        for board in grafana.shipped().values()
        for panel in board["panels"]
        for link in panel.get("links", [])
    }
    assert anchors
    assert [anchor for anchor in sorted(anchors) if not page(anchor)] == []


@pytest.mark.parametrize(
    ("expression", "faults"),
    [
        ("sum(torii_jobs_total)", []),
        ("rate(torii_job_duration_seconds_bucket[5m])", []),
        ("torii:runway:days", []),
        ("torii_job_duration_seconds", ["torii_job_duration_seconds"]),
        ("sum(rate(torii_nothing_total[5m]))", ["torii_nothing_total"]),
        ('up{job="torii-service"}', []),
    ],
)
def test_names_that_do_not_exist_are_found(expression: str, faults: list[str]) -> None:
    """A name that is no metric, and a histogram without its leg, are found; a text between quotes is not."""
    assert unknown_names(expression) == faults


def test_labels_that_do_not_exist_are_found() -> None:
    """A label that no metric has is found."""
    assert unknown_labels('a{team="t",tem="t"}') == ["tem"]
