"""Who may call at the banks' front: read again when the file or a key in it changes, so that keys rotate without a pause."""

from __future__ import annotations

from pathlib import Path

from gateway.adapters.http.bank_gate import Banks
from gateway.central.bank_config import BadBanks, BankTable
from gateway.central.config import ConfigError, load

Stamp = tuple[tuple[int, int] | None, ...]


class Doors:
    """The banks as they are now. file: the configuration, None for one that is never read again. BadBanks."""

    def __init__(self, bank: BankTable, folder: Path, file: Path | None) -> None:
        self._bank, self._folder, self._file = bank, folder, file
        self._seen = self._stamp()
        self._banks = bank.banks(folder)

    def __call__(self) -> Banks:
        return self._banks

    def refresh(self) -> bool:
        """Reads it again if it is another one than before; whether it was. BadBanks, and nothing has changed."""
        if self._file is None or (stamp := self._stamp()) == self._seen:
            return False
        self._seen = stamp  # a wrong one is told once
        try:
            bank = load(self._file).bank
        except ConfigError as wrong:
            raise BadBanks(wrong.errors) from None
        if bank is None or _fixed(bank) != _fixed(self._bank):
            raise BadBanks(["bank: listen, signatures and accounts change when the central system is started again"])
        self._bank = bank
        self._seen = (stamp[0], *self._stamp()[1:])  # of the keys' files that it names now, before they are read
        self._banks = bank.banks(self._folder)
        return True

    def _stamp(self) -> Stamp:
        files = [] if self._file is None else [self._file, *(self._folder / name for name in self._bank.key_files())]
        return tuple(_state(path) for path in files)


def _fixed(bank: BankTable) -> tuple[object, ...]:
    """What the listener was made with."""
    return bank.enabled, bank.signatures, bank.listen, bank.certificate, bank.key, bank.client_ca, bank.accounts


def _state(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
