"""Credit policies by name and configuration, checked: what the settings say, in the domain's words."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache

from pydantic import ValidationError

from gateway.adapters.profiles import config_folder
from gateway.domain.credit import CreditPolicy
from gateway.domain.credit_check import contradictions
from gateway.domain.notices import BUILT_IN
from gateway.settings import Account, Settings, SettingsError
from gateway.settings.credit import NamedPolicy, Policy
from gateway.settings.words import fault


def policies_of(settings: Settings) -> Mapping[str, NamedPolicy]:
    """By name: those of the configuration, and of the shipped ones what it does not name. Raises SettingsError."""
    return {**shipped(), **{policy.id: policy for policy in settings.policy}}


def table_of(account: Account, known: Mapping[str, NamedPolicy]) -> Policy:
    """What stands in the settings for an account, be it by name; its own table where there is no policy of that name."""
    return known.get(account.policy.name or "", account.policy)


def policy_of(account: Account, known: Mapping[str, NamedPolicy]) -> CreditPolicy:
    """The policy of an account. Raises SettingsError with every reason why it has none."""
    wanted = account.policy
    if wanted.name is not None:
        named = known.get(wanted.name)
        if named is None:
            raise SettingsError([f"there is no policy {wanted.name}; write a [[policy]], or one of {', '.join(sorted(known))}"])
        if named.currency != account.currency:
            raise SettingsError([f"is in {account.currency}, but policy {named.id} counts in {named.currency}"])
        wanted = named
    try:
        policy = wanted.policy(account.currency)
    except ValueError as problem:
        raise SettingsError([f"policy: {problem}"]) from None
    if faults := contradictions(policy, agreement=account.agreement is not None):
        raise SettingsError([f"policy: {text}" for text in faults])
    return policy


def examine_policies(settings: Settings) -> list[str]:
    """What is wrong with the policies of a configuration, used or not, and with accounts that name one."""
    try:
        known = policies_of(settings)
    except SettingsError as problem:
        return problem.errors
    errors = [f"policy {policy.id}: {text}" for policy in settings.policy for text in _faults(policy, settings)]
    for account in settings.account:
        try:
            policy = policy_of(account, known)
        except SettingsError as problem:
            errors += [f"account {account.id}: {text}" for text in problem.errors]
        else:
            errors += [f"account {account.id}: policy: {text}" for text in _strangers(policy, settings)]
    return errors


def _faults(named: NamedPolicy, settings: Settings) -> Sequence[str]:
    try:
        policy = named.policy(named.currency)
    except ValueError as problem:
        return [str(problem)]
    return [*contradictions(policy), *_strangers(policy, settings)]


def _strangers(policy: CreditPolicy, settings: Settings) -> list[str]:
    """Channels that nobody configured: its ladder would never be completed."""
    channels = {channel.id for channel in settings.notice_channel} | BUILT_IN
    said = [(step.name, step.channels) for step in policy.steps]
    said += [(step.name, step.channels) for step in policy.postpaid.ladder()] if policy.postpaid else []
    missing = [(name, channel) for name, wanted in said for channel in wanted if channel not in channels]
    return [f"notice {name}: there is no notice_channel {channel}" for name, channel in missing]


@cache
def shipped() -> Mapping[str, NamedPolicy]:
    """config/policies, by name. Raises SettingsError for a file that cannot be used."""
    found = {}
    for path in sorted((config_folder() / "policies").glob("*.toml")):
        try:
            found[path.stem] = NamedPolicy.model_validate({"id": path.stem} | tomllib.loads(path.read_text("utf-8")))
        except ValidationError as problem:
            raise SettingsError([f"{path}: {fault(error)}" for error in problem.errors()]) from None
    return found
