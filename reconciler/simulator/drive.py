"""A disk or flash image of the command line, and its checks."""

import os
import stat

from . import fields
from .refusal import Refusal

DRIVE = {
    "id": fields.text,
    "if": fields.one_of("none", "pflash"),
    "unit": fields.number(0, 1, "0..2"),
    "file": fields.path,
    "readonly": fields.switch,
    "direct": fields.switch,
    "throttling.iops-total": fields.number(0, 1_000_000),
    "aio": fields.text,
    "media": fields.one_of("disk", "cdrom"),
    "discard": fields.switch,
    "detect-zeroes": fields.text,
    "format": fields.text,
    "l2-cache-size": fields.size,
    "refcount-cache-size": fields.size,
}


class Drive:
    """One `-drive`, or what `blockdev-add` added."""

    def __init__(self, identity: str, path: str, readonly: bool, direct: bool) -> None:
        self.id = identity
        self.path = path
        self.readonly = readonly
        self.direct = direct
        self.qcow2 = False

    def check(self, aio: str) -> None:
        """Refuse contradictory options, and a path that is not a file."""
        if aio not in ("off", "native", "io_uring", "threads"):
            raise Refusal("Unknown aio type").within(fields.INVALID)
        if aio == "native" and not self.direct:
            raise Refusal(
                "Invalid parameter 'aio' for 'native aio type should be used with \"direct\" on'"
            )
        if aio == "off" and self.direct:
            raise Refusal(
                "Invalid parameter 'aio' for "
                "'low performance expected when use sync io with \"direct\" on'"
            )
        self.check_path()

    def check_path(self) -> None:
        """Refuse a path that is neither a regular file nor a block device."""
        try:
            mode = os.stat(self.path).st_mode
        except OSError as error:
            reason = f"{error.strerror} (os error {error.errno})"
            raise Refusal(f"Failed to get metadata of file {self.path}: {reason}.") from None
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise Refusal(f"{self.path} is not a regular file or block device.")
