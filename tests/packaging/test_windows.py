"""The files for Windows: they parse, and say what the wrapper and the Task Scheduler must know."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[2] / "packaging" / "windows"
TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
PERIOD = re.compile(r"PT(?:(\d+)M)?(?:(\d+)S)?")


@pytest.fixture(scope="module")
def service() -> ElementTree.Element:
    return ElementTree.parse(FOLDER / "edge-agent-service.xml").getroot()


@pytest.fixture(scope="module")
def task() -> ElementTree.Element:
    return ElementTree.parse(FOLDER / "edge-agent-task.xml").getroot()


def text(element: ElementTree.Element, path: str) -> str:
    found = element.find(path)
    assert found is not None, path
    return found.text or ""


def in_task(task: ElementTree.Element, path: str) -> str:
    return text(task, "/".join(TASK + part for part in path.split("/")))


def test_the_service_runs_the_daemon(service: ElementTree.Element) -> None:
    """The wrapper starts the daemon at boot, under an account of its own, with its home named."""
    assert service.tag == "service"
    assert text(service, "id").isalnum()
    assert text(service, "executable").endswith("edge-agent.exe")
    assert text(service, "arguments") == "run"
    assert text(service, "startmode") == "Automatic"
    assert text(service, "serviceaccount/username") == f"NT SERVICE\\{text(service, 'id')}"
    environment = {one.get("name"): one.get("value") for one in service.findall("env")}
    assert environment["EDGE_AGENT_HOME"]
    assert not any("PASSWORD" in str(name) for name in environment)


def test_the_service_is_started_again_and_stopped_gently(service: ElementTree.Element) -> None:
    """Every failure ends in a restart after a pause; a stop leaves the daemon more than its own 20 s."""
    failures = service.findall("onfailure")
    assert failures
    assert all(one.get("action") == "restart" for one in failures)
    assert all(int(str(one.get("delay")).split()[0]) >= 10 for one in failures)
    assert int(text(service, "stoptimeout").split()[0]) > 20


def test_the_task_runs_the_daemon_for_ever(task: ElementTree.Element) -> None:
    """From boot on, once, without an end, on battery as well, and again after a failure."""
    assert task.tag == f"{TASK}Task"
    assert in_task(task, "Actions/Exec/Arguments") == "run"
    assert in_task(task, "Triggers/BootTrigger/Enabled") == "true"
    settings = "Settings/"
    assert in_task(task, settings + "MultipleInstancesPolicy") == "IgnoreNew"
    assert in_task(task, settings + "ExecutionTimeLimit") == "PT0S"
    for key in ("DisallowStartIfOnBatteries", "StopIfGoingOnBatteries", "RunOnlyIfNetworkAvailable", "RunOnlyIfIdle"):
        assert in_task(task, settings + key) == "false", key
    minutes = PERIOD.fullmatch(in_task(task, settings + "RestartOnFailure/Interval"))
    assert minutes is not None
    assert int(minutes[1]) >= 1  # schtasks refuses less than a minute
    assert 1 <= int(in_task(task, settings + "RestartOnFailure/Count")) <= 999


def test_the_tasks_parts_stand_in_the_order_of_its_schema(task: ElementTree.Element) -> None:
    """schtasks reads parts in one order alone."""
    assert [part.tag.removeprefix(TASK) for part in task] == [
        *("RegistrationInfo", "Triggers", "Principals", "Settings", "Actions"),
    ]


def test_the_task_has_few_rights(task: ElementTree.Element) -> None:
    """It runs as LocalService, not as the system."""
    assert in_task(task, "Principals/Principal/UserId") == "S-1-5-19"
    assert in_task(task, "Principals/Principal/RunLevel") == "LeastPrivilege"


def test_service_and_task_are_the_same_program(service: ElementTree.Element, task: ElementTree.Element) -> None:
    """Both ways start the program where README.md installs it."""
    assert text(service, "executable") == in_task(task, "Actions/Exec/Command")
    readme = (FOLDER / "README.md").read_text("utf-8")
    for name in ("edge-agent-service.xml", "edge-agent-task.xml", "icacls", "schtasks /Create"):
        assert name in readme
