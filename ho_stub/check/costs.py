"""What a till costs: how long answers take, and how many bytes a whole pull has."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ho_stub.check.line import Answer
from ho_stub.check.visit import DATASETS, Visit


@dataclass(frozen=True, slots=True)
class Cost:
    """One line of the report; times in milliseconds, sizes in bytes on the wire."""

    what: str
    requests: int
    p50_ms: float
    worst_ms: float
    bytes: int


def costs(visit: Visit) -> list[Cost]:
    """The version poll, each whole list, and all three together: a till's whole pull."""
    found = []
    polls = [answer for answer in visit.line.answers if answer.path.endswith("/version/") and answer.status == 200]
    if polls:
        found.append(_cost("a version poll", polls, 1 / len(polls)))
    pulls = [(dataset, visit.pulled(dataset)) for dataset in DATASETS]
    for dataset, whole in pulls:
        if whole is not None:
            found.append(_cost(f"all {dataset} ({len(whole.rows):,} rows)", whole.answers))
    every = [answer for _, whole in pulls if whole is not None for answer in whole.answers]
    if len(every) >= len(DATASETS):
        found.append(_cost("a till's whole pull", every))
    return found


def _cost(what: str, answers: Sequence[Answer], share: float = 1.0) -> Cost:
    took_ms = [answer.took_s * 1000 for answer in answers]
    size = round(sum(answer.wire_bytes for answer in answers) * share)
    return Cost(what, len(answers), round(median(took_ms), 1), round(max(took_ms), 1), size)
