"""Log lines: one JSON object each, with the request that it is about."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from rollback_operator import logs

log = logging.getLogger("rollback_operator.test")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, names = logging.getLogger(), ("kopf", "kopf.objects")
    handlers, level, levels = root.handlers[:], root.level, {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_line_says_which_request_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    log.info(
        "%s: %s", "Completed", "Done.", extra={"request": "shop/undo", "target": "Deployment/checkout", "uid": "1"}
    )
    (line,) = written(capsys)
    fields = json.loads(line)
    assert (fields["level"], fields["logger"], fields["message"]) == (
        "INFO",
        "rollback_operator.test",
        "Completed: Done.",
    )
    assert (fields["request"], fields["target"], fields["uid"]) == ("shop/undo", "Deployment/checkout", "1")
    assert fields["time"]


def test_an_error_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    try:
        int("two\nlines")
    except ValueError:
        log.exception("Trying again later", extra={"request": "shop/undo"})
    (line,) = written(capsys)
    assert "ValueError: invalid literal" in line
    assert json.loads(line)["request"] == "shop/undo"


def test_a_terminal_shows_the_request_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "plain")
    log.info("Done.", extra={"request": "shop/undo", "phase": None})
    log.info("Up.")
    one, other = written(capsys)
    assert one.endswith("INFO Done.  (request=shop/undo)")
    assert other.endswith("INFO Up.")


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json")
    log.info("Quiet.")
    log.warning("Loud.")
    assert [json.loads(line)["message"] for line in written(capsys)] == ["Loud."]


def test_kopf_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("DEBUG", "json")
    logging.getLogger("kopf").info("chatter")
    logging.getLogger("kopf.objects").warning("chatter")
    logging.getLogger("kopf").warning("trouble")
    assert [json.loads(line)["message"] for line in written(capsys)] == ["trouble"]
