"""The channels of a configuration as they are used: their secrets read, their texts loaded. apprise is loaded only where there is
a channel."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from gateway.adapters.http.notices_api import NoticeUseCases
from gateway.adapters.notices.texts import TextError, Texts, load_texts
from gateway.adapters.profiles import config_folder
from gateway.domain.notices import Notice, Verdict
from gateway.entrypoints.notice_loop import Post
from gateway.services import notify
from gateway.services.ports import Tx
from gateway.settings import Settings, SettingsError, secret_file
from gateway.settings.notices import NoticeChannel

T = TypeVar("T")
log = structlog.get_logger()

TEST_STEP = "test"
"""The text of a test, and what stands for its step."""


class Write(Protocol):
    """The store's write."""

    def __call__(self, usecase: Callable[[Tx], T], /) -> Awaitable[T]: ...


def posts_of(settings: Settings, folder: Path) -> dict[str, Post]:
    """Every channel by its id. Raises SettingsError with every error."""
    if not settings.notice_channel:
        return {}
    from gateway.adapters.notices.apprise_post import ApprisePost, ChannelError, Terms, check

    errors: list[str] = []
    posts: dict[str, Post] = {}
    try:
        texts = texts_of(settings, folder)
    except SettingsError as problem:
        errors, texts = problem.errors, Texts({})
    for channel in settings.notice_channel:
        try:
            url = _url(channel, folder)
            check(channel.id, url)
        except (SettingsError, ChannelError) as problem:
            errors += problem.errors if isinstance(problem, SettingsError) else [str(problem)]
            continue
        terms = Terms(channel.per_minute, channel.timeout_s, channel.short, channel.open_hours(settings.gateway.zone))
        posts[channel.id] = ApprisePost(channel.id, url, texts, terms)
    if errors:
        raise SettingsError(errors)
    return posts


def examine_notices(settings: Settings, folder: Path) -> list[str]:
    """What is wrong with channels, contacts and texts."""
    try:
        texts_of(settings, folder)
        if not posts_of(settings, folder):
            return []
    except SettingsError as problem:
        return problem.errors
    from gateway.adapters.notices.apprise_post import ChannelError, check

    urls = {channel.id: _url(channel, folder) for channel in settings.notice_channel}
    errors = []
    for account in settings.account:
        for contact in account.contacts:
            if (url := urls.get(contact.channel)) is None:
                continue  # built in
            try:
                check(contact.channel, url, [contact.to])
            except ChannelError as problem:
                errors.append(f"account {account.id}: {problem}")
    return errors


def texts_of(settings: Settings, folder: Path) -> Texts:
    """The shipped texts, and over them the operator's. Raises SettingsError."""
    own = [folder / settings.notices.texts] if settings.notices.texts else []
    try:
        return load_texts(config_folder() / "notices", *own)
    except TextError as problem:
        raise SettingsError([str(problem)]) from None


def _url(channel: NoticeChannel, folder: Path) -> str:
    if channel.url_file is not None:
        return secret_file(folder / channel.url_file)
    url = os.environ.get(channel.url_env or "", "")
    if not url:
        raise SettingsError([f"channel {channel.id}: the variable {channel.url_env} is not set"])
    return url


class LivePosts:
    """The channels of the configuration as it is now; built anew when it, a secret or a text has changed."""

    def __init__(self, settings: Callable[[], Settings], folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self._of: tuple[Settings, Sequence[int]] | None = None
        self._posts: Mapping[str, Post] = {}

    def __call__(self) -> Mapping[str, Post]:
        """By id. Where they cannot be built any more (a secret was taken away) they stay as they were."""
        now = self._settings()
        state = (now, _written(now, self._folder))
        if state != self._of:
            self._of = state
            try:
                self._posts = posts_of(now, self._folder)
            except SettingsError as problem:
                log.error("notice_channels_stay", errors=problem.errors)
        return self._posts


def _written(settings: Settings, folder: Path) -> Sequence[int]:
    """When the secrets and the operator's texts were last written."""
    files = [folder / channel.url_file for channel in settings.notice_channel if channel.url_file]
    if settings.notices.texts:
        files += sorted((folder / settings.notices.texts).glob("*.toml"))
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in files]


def notice_cases(write: Write, now_ms: Callable[[], int]) -> NoticeUseCases:
    """What people and providers report, as use cases of this store."""

    async def confirm(number: int, who: str, note: str) -> Notice:
        return await write(lambda tx: notify.confirm(tx, number, who, now_ms(), note))

    async def confirm_step(account: str, step: str, channel: str, who: str, note: str) -> Notice:
        return await write(lambda tx: notify.confirm_step(tx, account, step, channel, who, now_ms(), note))

    async def report(number: int, arrived: bool, who: str, detail: str) -> Notice:
        return await write(lambda tx: notify.report(tx, number, arrived, who, now_ms(), detail))

    return NoticeUseCases(confirm, confirm_step, report)


async def try_channel(settings: Settings, folder: Path, channel: str, to: str, language: str, now_ms: int) -> Verdict:
    """One test text on this channel. Raises SettingsError, LookupError for a channel that there is not."""
    posts = posts_of(settings, folder)
    if channel not in posts:
        raise LookupError(f"there is no notice_channel {channel}; there are {', '.join(posts) or 'none'}")
    return await posts[channel].send(Notice(0, "test", TEST_STEP, channel, to, {}, now_ms), language)
