"""What is sent to Kubernetes is valid, runs without rights, and names files, ports, settings and secrets that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]

from cli import menu
from gateway.settings import values
from gateway.settings.values import Purpose
from service import app
from tests.deploy import kustomize
from tests.support import tree

FOLDER = tree.ROOT / "deploy" / "kubernetes"
OVERLAYS = ("production", "emulator")
#: The oldest that is still looked after, and the newest that the schemas know.
VERSIONS = ("1.33", "1.37")
DOORS = {"service": Purpose.SERVE, "worker": Purpose.WORK, "migrate": Purpose.MIGRATE}
COMMANDS = {"torii-service": "serve", "torii-worker": "work"}


@pytest.fixture(params=OVERLAYS)
def resources(request: pytest.FixtureRequest) -> list[kustomize.Resource]:
    """Give what an overlay comes to."""
    return kustomize.built(FOLDER / "overlays" / request.param)


@pytest.mark.parametrize("version", VERSIONS)
def test_resources_are_valid(resources: list[kustomize.Resource], version: str, tmp_path: Path) -> None:
    """Each resource keeps Kubernetes' own schema, strictly: no misspelt field."""
    paths = []
    for number, resource in enumerate(resources):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(resource))
        paths.append(str(path))
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet", "-k", version, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_resources_have_names_of_their_own(resources: list[kustomize.Resource]) -> None:
    """No resource is there twice."""
    names = [kustomize.identity(each) for each in resources]
    assert len(names) == len(set(names))


def test_containers_have_no_rights(resources: list[kustomize.Resource]) -> None:
    """Each runs as the images' user, on a file system it cannot write, without capabilities or a token."""
    found = kustomize.containers(resources)
    assert len(found) >= 3
    for name, pod, container in found:
        user = pod["securityContext"]
        assert (user["runAsNonRoot"], user["runAsUser"], user["seccompProfile"]["type"]) == (
            True,
            10001,
            "RuntimeDefault",
        ), name
        assert pod["automountServiceAccountToken"] is False, name
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"]["cpu"]


def test_settings_exist_and_suffice(resources: list[kustomize.Resource]) -> None:
    """Every variable is a setting; each door has those it cannot start without, and no other door's secret."""
    configuration = next(each["data"] for each in resources if each["kind"] == "ConfigMap")
    assert set(configuration) <= set(values.variables())
    assert not set(configuration) & values.SECRETS
    for _, _, container in kustomize.containers(resources):
        if container["name"] not in DOORS:
            continue
        purpose = DOORS[container["name"]]
        own = {each["name"] for each in container["env"]}
        assert own <= set(values.variables())
        given = own | (set(configuration) if container.get("envFrom") else set())
        # The images listen on every address.
        needed = purpose.required | ({"TORII_PUBLIC_URL"} if purpose.hands_out_urls else set())
        assert needed <= given, container["name"]
        assert not own & purpose.unread, container["name"]


def test_secrets_are_references(resources: list[kustomize.Resource]) -> None:
    """No secret stands in a resource: each is a key of the secret that deploy/README.md tells to make."""
    guide = (tree.ROOT / "deploy" / "README.md").read_text()
    assert "Secret" not in {each["kind"] for each in resources}
    for _, _, container in kustomize.containers(resources):
        for variable in container.get("env", ()):
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["name"] == "torii"
            assert f"{reference['key']}=" in guide, reference["key"]


def test_probes_ask_pages_that_exist(resources: list[kustomize.Resource]) -> None:
    """Each probe asks a named port of its container, at a page of that door; only readiness takes a replica away."""
    routes = {path for route in app.ROUTES for path in route.paths}
    for _, _, container in kustomize.containers(resources):
        ports = {each["name"]: each["containerPort"] for each in container.get("ports", ())}
        probes = {name: probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")}
        assert {probe["port"] for probe in probes.values()} <= set(ports)
        if container["name"] == "service":
            assert ports == {"http": values.Settings.model_fields["port"].default}
            assert set(probes) == {"startupProbe", "livenessProbe", "readinessProbe"}
            assert {probe["path"] for probe in probes.values()} <= routes
            assert probes["livenessProbe"]["path"] == "/health/live"
        if container["name"] == "worker":
            assert ports == {"metrics": values.Settings.model_fields["worker_metrics_port"].default}
            assert {probe["path"] for probe in probes.values()} == {"/health"}


def test_pods_have_time_to_end(resources: list[kustomize.Resource]) -> None:
    """Both doors are given longer than the 30 s that they may need."""
    graces = [each["spec"]["template"]["spec"] for each in resources if each["kind"] == "Deployment"]
    assert [pod["terminationGracePeriodSeconds"] > 35 for pod in graces] == [True, True]


def test_names_lead_to_each_other(resources: list[kustomize.Resource]) -> None:
    """Autoscalers, budgets, policies, services and the ingress name what is there."""
    components = {
        each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for each in resources
        if each["kind"] in ("Deployment", "Job")
    }
    text = yaml.safe_dump_all(resources)
    assert set(re.findall(r"app.kubernetes.io/component: (\w+)", text)) == components
    known = {kustomize.identity(each) for each in resources}
    for each in resources:
        if each["kind"] == "HorizontalPodAutoscaler":
            target = each["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in known
            assert 1 <= each["spec"]["minReplicas"] <= each["spec"]["maxReplicas"]
        if each["kind"] == "Ingress":
            paths = each["spec"]["rules"][0]["http"]["paths"]
            assert {("Service", path["backend"]["service"]["name"]) for path in paths} <= known
    assert {"torii-service", "torii-worker"} <= {name for kind, name in known if kind == "PodDisruptionBudget"}


def test_images_are_those_of_the_dockerfile(resources: list[kustomize.Resource]) -> None:
    """Each container is one of the two images, with that image's own command or another that exists."""
    targets = re.findall(r"AS (service|worker)$", (tree.ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    for _, _, container in kustomize.containers(resources):
        assert container["image"].removeprefix("torii-") in targets
        if "command" not in container:
            assert set(container.get("args", [COMMANDS[container["image"]]])) <= set(menu.COMMANDS)


def test_patches_are_merged_as_kubernetes_does() -> None:
    """The tests' own reader merges mappings, adds to and merges containers by name, and replaces other lists."""
    target = {"a": {"b": 1, "c": [1]}, "containers": [{"name": "x", "image": "i"}]}
    kustomize.merge(target, {"a": {"c": [2]}, "containers": [{"name": "x", "args": []}, {"name": "y"}]})
    assert target == {"a": {"b": 1, "c": [2]}, "containers": [{"name": "x", "image": "i", "args": []}, {"name": "y"}]}
