"""What an overlay comes to: its resources with its patches, as Kubernetes would be sent them, images' names aside."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

Resource = dict[str, Any]
#: What a kustomization of ours may say; another word would be passed over here in silence.
UNDERSTOOD = {"apiVersion", "kind", "namespace", "labels", "resources", "patches", "images"}


def built(folder: Path) -> list[Resource]:
    """Return the resources of a kustomization; AssertionError where a file is missing, unnamed or patches nothing."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(kustomization) <= UNDERSTOOD, set(kustomization) - UNDERSTOOD
    resources: list[Resource] = []
    named = {"kustomization.yaml"}
    for name in kustomization["resources"]:
        path = folder / name
        resources += built(path) if path.is_dir() else documents(path)
        named.add(name)
    for patch in kustomization.get("patches", ()):
        named.add(patch["path"])
        for document in documents(folder / patch["path"]):
            targets = [each for each in resources if identity(each) == identity(document)]
            assert len(targets) == 1, f"{patch['path']} patches {len(targets)} resources"
            merge(targets[0], document)
    unnamed = {path.name for path in folder.glob("*.yaml")} - named
    assert not unnamed, f"{folder.name} does not name {unnamed}"
    return resources


def documents(path: Path) -> list[Resource]:
    """Return the documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def identity(resource: Resource) -> tuple[str, str]:
    """Return what a resource is known by."""
    return resource["kind"], resource["metadata"]["name"]


def merge(target: Resource, patch: Resource) -> None:
    """Merge a patch as Kubernetes does: containers by their names, other lists as a whole."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        elif key == "containers":
            for container in value:
                same = next((each for each in target[key] if each["name"] == container["name"]), None)
                if same is None:
                    target[key].append(container)
                else:
                    merge(same, container)
        else:
            target[key] = value


def containers(resources: list[Resource]) -> list[tuple[str, Resource, Resource]]:
    """Return every container, with the name of what it is in and its pod; those that run first come first."""
    found = []
    for name, template in templates(resources).items():
        pod = template["spec"]
        found += [(name, pod, container) for container in (*pod.get("initContainers", ()), *pod["containers"])]
    return found


def templates(resources: list[Resource]) -> dict[str, Resource]:
    """Return the template of each resource's pods by the resource's name."""
    found = {}
    for resource in resources:
        if resource["kind"] in ("Deployment", "Job"):
            found[resource["metadata"]["name"]] = resource["spec"]["template"]
        if resource["kind"] == "CronJob":
            found[resource["metadata"]["name"]] = resource["spec"]["jobTemplate"]["spec"]["template"]
    return found
