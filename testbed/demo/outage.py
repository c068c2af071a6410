"""What customers met after a release: from the first bad answer to the last, and what happened meanwhile."""

from __future__ import annotations

import time

from testbed.demo import timeline
from testbed.demo.customers import Answer, Customers
from testbed.demo.screen import Screen, seconds
from testbed.demo.shop import Claim, Object, until
from testbed.demo.timeline import Moment, moment_of


class Outage:
    """Begins with the first bad answer after it is made."""

    def __init__(self, customers: Customers) -> None:
        self.customers = customers
        self._since = time.time()
        self._moments: list[Moment] = []

    def note(self, what: str, who: str, at: float | None = None) -> None:
        """Something that happened, just now if nothing else is said, and who says so."""
        self._moments.append(Moment(time.time() if at is None else at, what, who))

    def begins(self, screen: Screen, what: str) -> None:
        """Wait until a customer is turned away, and show it."""
        bad = until(self.bad, within=30, what=what)
        screen.bad(f"{self.customers.says}: {bad[-1].words}")

    def bad(self) -> list[Answer]:
        """The orders that failed."""
        return self.customers.bad(self._since)

    def recovered(self) -> Answer | None:
        """The first answer after the last bad one."""
        return next(iter(self.customers.since(self.bad()[-1].at)), None)

    def is_over(self) -> Claim:
        """Whether orders have been served since, for a second at least."""
        until(lambda: self._lasts() > 1, within=10, what="orders are served again")
        served = len(self.customers.since(self.bad()[-1].at))
        return self.customers.sums_up(len(self.bad()), served, seconds(self._lasts())), True

    def _lasts(self) -> float:
        back = self.recovered()
        return 0.0 if back is None else time.time() - back.at

    def is_told(self, screen: Screen, status: Object, effect: str, verified: str) -> None:
        """What happened when; `status` is the request's, `effect` what its step did, `verified` that it helped."""
        self._note_what_the_request_says(status, effect, verified)
        bad, back, who = self.bad(), self.recovered(), self.customers.name
        first = bad[0].at
        self.note(f"first bad answer: {bad[0].words}", who, first)
        self.note("last bad answer", who, bad[-1].at)
        if back is not None:
            self.note("recovered: every answer is good from here on", who, back.at)
        screen.say("What happened when, counted from the first bad answer, and who says so:")
        timeline.show(screen, self._moments, first)
        if back is not None:
            took = f"From the first bad answer to recovery: {seconds(back.at - first)}"
            screen.good(f"{took}; verified after {seconds(moment_of(status['finishedAt']) - first)}.")

    def _note_what_the_request_says(self, status: Object, effect: str, verified: str) -> None:
        (step,) = status["targets"][0]["steps"]
        done = moment_of(step["finishedAt"])
        self.note(effect, f"request, step {step['name']}", done)
        again = next((one.at for one in self.customers.since(done) if one.of(1)), None)
        if again is not None:
            self.note("first answer of release 1 again", self.customers.name, again)
        ended = verified if status["phase"] == "Succeeded" else "not verified"
        self.note(ended, "request, finishedAt", moment_of(status["finishedAt"]))
