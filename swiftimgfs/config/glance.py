"""Glance's own configuration: which Swift store it describes, and with which options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from swiftimgfs import errors
from swiftimgfs.config.files import given_in, parsed_files
from swiftimgfs.config.glance_options import GLANCE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STORE_GROUP = "glance_store"
DEFAULTS_GROUP = "backend_defaults"  # what the backends' groups fall back to
_SWIFT_STORES = {"swift", "swift+https", "swift+http", "swift+config"}
_SELECTION = (
    cfg.ListOpt("stores", help="Which drivers Glance loads."),
    cfg.StrOpt("default_store", help="The scheme that Glance stores new images with."),
    cfg.StrOpt("default_backend", help="The backend that Glance stores new images in."),
)


@dataclass(frozen=True, slots=True)
class GlanceStore:
    """One Swift store of a Glance.

    Attributes:
        given: The driver's options that the files set, by name.
        default_store: What Glance calls the store of new images, if it does.
    """

    group: str
    given: Mapping[str, Any] = field(repr=False)  # with passwords
    default_store: str | None


def read_glance(path: Path, backend: str | None) -> GlanceStore:
    """Return the Swift store that `glance-api.conf` at `path` describes.

    `PATH.d/*.conf` are read after it, as Glance does.

    Args:
        path: Of the file.
        backend: A name in `enabled_backends`; without it the only Swift backend, or the
            default one if it is Swift.

    Raises:
        ConfigError: No such file, no such backend, or no Swift store in it.
    """
    extra = Path(f"{path}.d")
    files = [path, *sorted(extra.glob("[!.]*.conf"))] if extra.is_dir() else [path]
    conf = parsed_files(files)
    backends = _backends(conf, path)
    selection = _given(conf, STORE_GROUP, _SELECTION, path)
    if not backends:
        if backend not in {None, STORE_GROUP}:
            raise errors.ConfigError(f"{path}: no enabled_backends, so no backend {backend!r}")
        given = _given(conf, STORE_GROUP, GLANCE_OPTIONS, path)
        stores = selection.get("stores")
        is_swift = bool(_SWIFT_STORES & set(stores)) if stores else bool(given)
        if not is_swift:
            raise errors.ConfigError(f"{path}: no Swift store in [{STORE_GROUP}]")
        return GlanceStore(STORE_GROUP, given, selection.get("default_store"))
    default = selection.get("default_backend")
    group = _chosen(path, backends, backend, default)
    given = _given(conf, DEFAULTS_GROUP, GLANCE_OPTIONS, path)
    given |= _given(conf, group, GLANCE_OPTIONS, path)
    return GlanceStore(group, given, backends.get(default or ""))


def _given(
    conf: cfg.ConfigOpts, group: str, options: Sequence[cfg.Opt], path: Path
) -> dict[str, Any]:
    conf.register_opts(options, group=group)
    return given_in(conf, group, options, str(path))


def _backends(conf: cfg.ConfigOpts, path: Path) -> Mapping[str, str]:
    """Return the drivers by the names of their backends, which are groups too."""
    conf.register_opt(cfg.DictOpt("enabled_backends", help="Glance's backends."))
    try:
        backends: Mapping[str, str] | None = conf.enabled_backends
    except (cfg.Error, ValueError):
        raise errors.ConfigError(
            f"{path}: enabled_backends: not of the form NAME:DRIVER,NAME:DRIVER"
        ) from None
    return backends or {}


def _chosen(
    path: Path, backends: Mapping[str, str], wanted: str | None, default: str | None
) -> str:
    swift = [name for name, driver in backends.items() if driver in _SWIFT_STORES]
    if wanted is not None:
        if wanted not in backends:
            raise errors.ConfigError(
                f"{path}: no backend {wanted!r} in enabled_backends ({', '.join(backends)})"
            )
        if wanted not in swift:
            raise errors.ConfigError(
                f"{path}: backend {wanted!r} is {backends[wanted]}, not swift"
            )
        return wanted
    if len(swift) == 1:
        return swift[0]
    if not swift:
        raise errors.ConfigError(f"{path}: none of the enabled_backends is swift")
    if default in swift:
        return default
    raise errors.ConfigError(
        f"{path}: several Swift backends; name one: glance:{path}#{swift[0]} ({', '.join(swift)})"
    )
