"""What is sent to Kubernetes is valid, runs without rights, and names files, ports, settings and secrets that exist."""

import os
import re
import subprocess
import sys
import time
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
DOORS = {"service": Purpose.SERVE, "worker": Purpose.WORK, "migrate": Purpose.MIGRATE, "backup": Purpose.STORE}
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
            if "value" in variable:
                assert variable["name"] not in values.variables()
                continue
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
        template["metadata"]["labels"]["app.kubernetes.io/component"]
        for template in kustomize.templates(resources).values()
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
            assert container.get("args", [COMMANDS[container["image"]]])[0] in menu.COMMANDS


@pytest.fixture
def nightly() -> dict[str, kustomize.Resource]:
    """Give the production overlay's backup: its resources by kind."""
    resources = kustomize.built(FOLDER / "overlays" / "production")
    return {each["kind"]: each for each in resources if each["metadata"]["name"].startswith("torii-backup")}


def test_a_backup_is_made_every_night(nightly: dict[str, kustomize.Resource]) -> None:
    """One at a time, into a volume that outlives it, by a pod that the policies know; what is old goes afterwards."""
    cron = nightly["CronJob"]["spec"]
    assert (cron["concurrencyPolicy"], cron["timeZone"]) == ("Forbid", "Etc/UTC")
    assert re.fullmatch(r"\d+ \d+ \* \* \*", cron["schedule"])
    template = cron["jobTemplate"]["spec"]["template"]
    assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "torii", "or no policy holds for it"
    pod = template["spec"]
    (first,), (second,) = pod["initContainers"], pod["containers"]
    volume = {each["name"]: each for each in pod["volumes"]}["backups"]
    claim = nightly["PersistentVolumeClaim"]["metadata"]["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim
    command, place = first["args"]
    assert command == "backup"
    assert place in {each["mountPath"] for each in first["volumeMounts"] if each["name"] == "backups"}
    assert place in second["args"][0]


def test_old_backups_are_removed(nightly: dict[str, kustomize.Resource], tmp_path: Path) -> None:
    """Files past their days go; the newest never does, however old it is, and nothing else is touched."""
    (prune,) = nightly["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    days = next(each["value"] for each in prune["env"] if each["name"] == "BACKUP_DAYS")
    now = time.time()
    for name, age in (
        ("torii-20260101T000000Z.backup", 90),
        ("torii-20260301T000000Z.backup", int(days) + 1),
        ("notes", 90),
    ):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (now - age * 86400,) * 2)

    def pruned() -> list[str]:
        script = prune["args"][0].replace("/backups", str(tmp_path))
        command = [sys.executable, *prune["command"][1:], script]
        subprocess.run(command, env={"BACKUP_DAYS": days}, check=True, timeout=30, capture_output=True)
        return sorted(path.name for path in tmp_path.iterdir())

    assert pruned() == ["notes", "torii-20260301T000000Z.backup"]
    (tmp_path / "torii-20260320T000000Z.backup").write_text("x")
    assert pruned() == ["notes", "torii-20260320T000000Z.backup"]


def test_patches_are_merged_as_kubernetes_does() -> None:
    """The tests' own reader merges mappings, adds to and merges containers by name, and replaces other lists."""
    target = {"a": {"b": 1, "c": [1]}, "containers": [{"name": "x", "image": "i"}]}
    kustomize.merge(target, {"a": {"c": [2]}, "containers": [{"name": "x", "args": []}, {"name": "y"}]})
    assert target == {"a": {"b": 1, "c": [2]}, "containers": [{"name": "x", "image": "i", "args": []}, {"name": "y"}]}
