"""Who may change a meter: passwords by level, the count of refusals, and the lock after three of them on one day."""

from __future__ import annotations

from firmware_sim.loads import DAY_US
from firmware_sim.meter import Meter

LIMIT = 3  # refused passwords of one day
LOCK_US = DAY_US
PROGRAMMING_US = 240 * 60 * 1_000_000  # how long the programming key opens the meter


class Access:
    """Passwords (6 digits by level 0..9; 0 is the highest). key_needed: programming also takes a press of the key at the meter."""

    def __init__(self, meter: Meter, passwords: dict[int, str], key_needed: bool) -> None:
        self._meter = meter
        self.passwords = dict(passwords)
        self.key_needed = key_needed
        self._refused_today = (0, 0)
        self._locked_until_us = 0
        self._key_until_us = 0

    def admits(self, level: int, password: str, least: int) -> bool:
        """Whether this password opens this level and the level is high enough; a wrong one is counted, and three lock the meter."""
        if self.locked:
            return False
        if self.passwords.get(level) != password:
            self._refuse()
            return False
        return level <= least

    def press_key(self) -> None:
        """The programming key behind the seal."""
        self._key_until_us = self._meter.now_us + PROGRAMMING_US

    @property
    def programming(self) -> bool:
        """Programming is allowed: no key is needed, or it has been pressed lately."""
        return not self.key_needed or self._meter.now_us < self._key_until_us

    @property
    def locked(self) -> bool:
        """Three passwords were refused: nothing that needs one is done for 24 hours."""
        return self._meter.now_us < self._locked_until_us

    @property
    def locked_us(self) -> int:
        """How much longer the lock holds."""
        return max(0, self._locked_until_us - self._meter.now_us)

    def _refuse(self) -> None:
        self._meter.refused_passwords += 1
        today = self._meter.clock_us // DAY_US
        day, count = self._refused_today
        count = count + 1 if day == today else 1
        self._refused_today = today, count
        if count >= LIMIT:
            self._refused_today = today, 0
            self._locked_until_us = self._meter.now_us + LOCK_US

    def save(self) -> dict[str, object]:
        """What must survive a restart."""
        passwords = {str(level): password for level, password in self.passwords.items()}
        return {"refused": list(self._refused_today), "locked_us": self.locked_us, "passwords": passwords}

    def restore(self, saved: dict[str, object]) -> None:
        """Continue from a saved state."""
        refused, passwords = saved["refused"], saved["passwords"]
        if isinstance(refused, list) and isinstance(passwords, dict):
            self._refused_today = int(refused[0]), int(refused[1])
            self.passwords = {int(level): str(password) for level, password in passwords.items()}
        self._locked_until_us = self._meter.now_us + int(str(saved["locked_us"]))
