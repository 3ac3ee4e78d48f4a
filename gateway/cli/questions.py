"""Guided verbs: what an option does not say is asked for at a terminal, with what is usual; a script says all of it in options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import Asked

ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who answers for it; by default whose token it is.")]
SecondOption = Annotated[
    str | None, typer.Option("--second", metavar="NAME", help="Who says so too, where it takes two and users have no tokens.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")]
RequestOption = Annotated[
    str | None, typer.Option("--id", metavar="ID", help="Makes it happen once: the same id again gives the same answer.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is usual, and do it.")]


@dataclass(frozen=True, slots=True)
class Questions:
    """Whether anybody is there to be asked. yes: nobody is, and everything is agreed to."""

    yes: bool = False

    @property
    def alone(self) -> bool:
        """Nobody answers."""
        return self.yes or not sys.stdin.isatty()

    def ask(
        self,
        option: str,
        given: str | None,
        text: str,
        usual: str | None = None,
        wrong: Callable[[str], str | None] = lambda answer: None,
    ) -> str:
        """What an option says, or an answer. usual: what Enter means, "" for nothing; None: there must be an answer. wrong: why an
        answer will not do. Failure names the option where nobody can be asked."""
        if given is not None or self.alone:
            answer = given if given is not None else usual
            if answer is None:
                raise Failure(f"say {option}: {text}", 2)
            if why := wrong(answer):
                raise Failure(f"{option}: {why}", 2)
            return answer
        while True:
            answer = str(typer.prompt(text, default=usual, show_default=bool(usual))).strip()
            why = wrong(answer)
            if why is None:
                return answer
            print(f"  {why}", file=sys.stderr)

    def sure(self, text: str) -> None:
        """Failure when the person says no."""
        if not self.alone and not typer.confirm(text, default=True):
            raise Failure("nothing was done")


def post(gateway: Asked, path: str, body: dict[str, object]) -> dict[str, object]:
    """The answer to an act. Failure with every reason why it was not done."""
    status, answer = gateway.call("POST", path, {key: value for key, value in body.items() if value is not None})
    if status == 200:
        return answer
    errors = cast("list[str] | None", answer.get("errors"))
    if errors:
        raise Failure([*errors, "nothing was changed"])
    raise Failure(str(answer.get("detail") or answer.get("title") or f"the gateway answered {status}"))
