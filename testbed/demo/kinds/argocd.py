"""An Application of Argo CD: Git describes it, so a rollback lasts only while Git's bad commit is held off."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from testbed import network
from testbed.argocd import NAMESPACE, ArgoCD, healthy, synced
from testbed.binaries import GITOPS
from testbed.demo import running
from testbed.demo.byhand import ByHand
from testbed.demo.kinds.base import BY_CONTROLLERS
from testbed.demo.shop import EXAMPLES, SHOP, Claim, Shop, until
from testbed.demo.stage import Stage
from testbed.git import GitRepository
from testbed.gitserver import GitServer

AUTOMATED = {"prune": True, "selfHeal": True}
HOLD = "rollback.dev/hold"
LOOKS = 3
"""How often Argo CD looks at Git again, and could bring the bad commit back."""
APPLICATION = ("-n", NAMESPACE, "get", "application", SHOP)


class ArgoCDStory:
    """A commit that does not start is synced; a rollback holds it off until another commit mends the shop."""

    opening = "Git describes a shop, and Argo CD brings what is committed. A bad commit comes, and has to stay away."
    chapters = 6
    programs: tuple[str, ...] = GITOPS
    on_fake_nodes = BY_CONTROLLERS
    to_look_at: tuple[str, ...] = (
        "    kubectl -n shop describe rollbackrequest shop-argocd",
        "    kubectl -n argocd get application shop -o yaml",
        "Argo CD has ended, and its repository is gone.",
    )

    def is_told(self, stage: Stage) -> bool:
        """See `Story.is_told`."""
        screen = stage.screen
        with screen.step("The operator"):
            running.operator(stage, git_protocols="http" if stage.real else "file", holds="2")
            screen.say("It may ask Git without TLS here, and looks at holds every 2 seconds; usually every 15.")
        with screen.step("Argo CD brings the shop that Git describes"):
            shop = Described(stage)
            shop.is_described()
        with screen.step("A commit does not start"):
            shop.commits_a_bad_one()
        act = ByHand(shop, "rollbackrequest-argocd.yaml")
        with screen.step("Somebody asks for a rollback"):
            act.is_asked_for()
            act.is_looked_at()
            may_not = shop.operator_may_not("update", "applications.argoproj.io", namespace=NAMESPACE)
            good = shop.is_told([*act.ended_well(), *act.is_back(), may_not])
        with screen.step("Git still has the bad commit, and it does not come back"):
            good = shop.is_told(shop.is_held()) and good
        with screen.step("Git is mended, and the hold ends"):
            return shop.is_told(shop.is_mended()) and good


class Described(Shop):
    """The shop as a repository describes it, and the Application that brings it."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.terminal, real=stage.real)
        self._screen = stage.screen
        folder = Path(stage.stack.enter_context(tempfile.TemporaryDirectory()))
        self._repository = GitRepository(folder / "git" / "shop.git")
        self._url = self._served(stage, folder / "git") if stage.real else self._repository.url
        self._argocd = stage.stack.enter_context(ArgoCD.start(folder / "argocd", stage.terminal.cluster))

    def is_described(self) -> None:
        """Release 1, and an Application with automation for it."""
        first = self._commits("Release 1", self.release(1).read_text())
        self._argocd.application(SHOP, self._url, path="shop", destination=SHOP, automated=AUTOMATED)
        self._argocd.wait(SHOP, synced(first), timeout=60)
        self._argocd.wait(SHOP, healthy, timeout=60)
        self.gives_rights("rbac.yaml", "rbac-argocd.yaml")
        self.is_open()
        self._shows_the_application()

    def commits_a_bad_one(self) -> None:
        """Release 2, until it is synced and broken."""
        commit = self._commits("Release 2", self.release(2).read_text())
        self._argocd.wait(SHOP, synced(commit), timeout=60)
        self._screen.say("Argo CD has synced it; nobody had to ask.")
        self.breaks()
        self._shows_the_application()

    def is_held(self) -> list[Claim]:
        """Argo CD looks at Git again and again, also for a commit that is not about the shop."""
        self._shows_the_application()
        self._screen.say("OutOfSync: Git has release 2 still. The request goes on to say what holds it off:")
        held = 'jsonpath={.status.conditions[?(@.type=="Held")].message}'
        self.terminal.show("-n", SHOP, "get", "rollbackrequest", "shop-argocd", "-o", held)
        other = self._repository.commit({"docs/README.md": "How to make coffee.\n"}, "Explain coffee")
        self._screen.say(f"git commit {other[:7]}: Explain coffee; it changes docs/, and nothing of the shop.")
        for _ in range(LOOKS):
            self._looks()
        body = self._application()
        original = json.loads(body["metadata"]["annotations"].get(HOLD, "{}")).get("automated")
        off = f"Automation is off; an annotation of the Application keeps what it was: {json.dumps(original)}"
        return [
            (f"Argo CD looked at Git {LOOKS} times, at that commit.", body["status"]["sync"]["revision"] == other),
            (off, original == AUTOMATED and not self._is_automated()),
            self.runs(1),
            *([self.every_pod_serves(1)] if self.real else []),
        ]

    def is_mended(self) -> list[Claim]:
        """Release 2 with a price that is one: Argo CD brings it by itself again."""
        text = self.release(2).read_text().replace('"4,90"', '"490"')
        commit = self._commits("Release 2, with a price that is a number", text)
        self._argocd.refresh(SHOP)
        until(self._is_automated, within=60, what="the hold ends")
        self._argocd.wait(SHOP, synced(commit), timeout=60)
        self._argocd.wait(SHOP, healthy, timeout=60)
        self._shows_the_application()
        self.terminal.show("-n", SHOP, "events", "--for", "rollbackrequest/shop-argocd")
        body = self._application()
        policy, noted = body["spec"]["syncPolicy"], body["metadata"].get("annotations", {})
        as_before = policy == {"automated": AUTOMATED} and HOLD not in noted
        return [
            (f"The hold is over, and automation exactly as it was: {json.dumps(policy['automated'])}", as_before),
            (f"Argo CD has synced {commit[:7]} by itself.", body["status"]["sync"]["revision"] == commit),
            self.runs(2),
            *([self.every_pod_serves(2)] if self.real else []),
        ]

    def _served(self, stage: Stage, folder: Path) -> str:
        """The repository's address for pods and for Argo CD, which runs outside of the cluster."""
        server = stage.stack.enter_context(GitServer(folder, network.GATEWAY))
        running.named(stage.terminal, "git", "git", server.url.removeprefix("http://"), 80)
        address = stage.terminal.ask("-n", "git", "get", "service", "git", "-o", "jsonpath={.spec.clusterIP}")
        return f"http://{address}/shop.git"

    def _commits(self, message: str, release: str) -> str:
        """A commit of the shop with that release."""
        files = {"shop/shop.yaml": (EXAMPLES / "shop" / "shop.yaml").read_text(), "shop/release.yaml": release}
        commit = self._repository.commit(files, message)
        self._screen.say(f"git commit {commit[:7]}: {message}")
        return commit

    def _looks(self) -> None:
        """Have Argo CD look at Git, and wait until it has."""
        before = self._application()["status"].get("reconciledAt")
        self._argocd.refresh(SHOP)
        until(
            lambda: self._application()["status"].get("reconciledAt") != before, within=30, what="Argo CD looks at Git"
        )

    def _application(self) -> dict[str, Any]:
        return self._argocd.get(SHOP)

    def _is_automated(self) -> bool:
        automated = self._application()["spec"].get("syncPolicy", {}).get("automated")
        return automated is not None and automated.get("enabled") is not False

    def _shows_the_application(self) -> None:
        self.terminal.show(*APPLICATION)
        self.terminal.show(*APPLICATION, "-o", "jsonpath={.spec.syncPolicy}")
