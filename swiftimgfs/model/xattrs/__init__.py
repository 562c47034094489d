"""Extended attributes: which there are, where a value comes from and goes."""

from swiftimgfs.model.xattrs.subject import Subject
from swiftimgfs.model.xattrs.table import (
    REFRESH,
    check_namespace,
    names_of,
    remove,
    set_value,
    value_of,
)

__all__ = [
    "REFRESH",
    "Subject",
    "check_namespace",
    "names_of",
    "remove",
    "set_value",
    "value_of",
]
