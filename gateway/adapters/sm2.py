"""SM2 with SM3 (GB/T 32918), where it is configured: the library is an extra (`pip install wattgate[sm]`)."""

from __future__ import annotations

from collections.abc import Callable

POINT = 64
"""Bytes of a public key: x and y."""


class NoSm2(ValueError):
    """The key cannot be used; one sentence."""


def sm2_check(public: str) -> Callable[[bytes, bytes], bool]:
    """(signature in DER, message) -> whether it is good, with the usual signer id. public: hex, with or without the leading 04."""
    try:
        import gmssl_pyx  # type: ignore[import-untyped]
    except ImportError:
        raise NoSm2("SM2 needs the library gmssl-pyx: install wattgate with its extra `sm`") from None
    try:
        key = bytes.fromhex(public)[-POINT:]
        gmssl_pyx.sm2_verify(key, b"", b"\x30\x00")
    except gmssl_pyx.GmsslInnerError:
        pass  # no signature; the key was taken
    except (ValueError, gmssl_pyx.InvalidValueError) as wrong:
        raise NoSm2(f"this is no SM2 public key: {wrong}") from None

    def good(signature: bytes, message: bytes) -> bool:
        try:
            return bool(gmssl_pyx.sm2_verify(key, message, signature))
        except (ValueError, gmssl_pyx.InvalidValueError, gmssl_pyx.GmsslInnerError):
            return False

    return good
