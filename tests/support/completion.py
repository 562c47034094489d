"""Completion of command lines for shells: contrib/generate makes the files of it.

shtab makes them from the parsers when swiftimgfs is packaged; nothing of it runs, or is
needed, where a shell completes. bash gets more, from completion.bash and the table of options.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import shtab
from oslo_config import types

from swiftimgfs import cli, manual
from swiftimgfs.config.glance_options import GLANCE_OPTIONS
from swiftimgfs.config.options import OPTIONS, SHORT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oslo_config import cfg

# Each shell's file, as it is called where the shell looks for it.
FILES: Final = {"bash": "swiftimgfs", "zsh": "_swiftimgfs", "fish": "swiftimgfs.fish"}
DIRECTORIES: Final = {"mountpoint", "directory", "save_to"}
PATHS: Final = {"paths", "path", "config_file", "mountpoints"}
SOURCES: Final = {"source", "target"}
TEMPLATE: Final = Path(__file__).with_name("completion.bash")
REGISTRATION: Final = "complete -o bashdefault -F _shtab_swiftimgfs swiftimgfs"
DIRECTORY_OPTIONS: Final = ("cache_dir", "spool_dir", "signature_certificates")
FILE_OPTIONS: Final = ("cacert", "config_file", "log_file", "metrics")


def completions() -> dict[str, str]:
    """Return what each shell reads, by the shell's name."""
    parser = cli.build_parser()
    for verb in manual.subparsers_of(parser).choices.values():
        for action in manual.shown_actions(verb):
            if action.dest in DIRECTORIES:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab's own
            elif action.dest in PATHS:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # as above
            elif action.dest in SOURCES:
                files = {**shtab.FILE, "bash": "_swiftimgfs_sources"}
                action.complete = files  # type: ignore[attr-defined]  # as above
    made = {shell: shtab.complete(parser, shell) for shell in FILES}
    assert made["bash"].rstrip().endswith(REGISTRATION)
    made["bash"] = made["bash"].rstrip().removesuffix(REGISTRATION) + _more_for_bash()
    return made


def _more_for_bash() -> str:
    options = {o.name: o for o in OPTIONS}
    short = {long: name for name, long in SHORT_NAMES.items()}
    options |= {short.get(o.name, o.name): o for o in GLANCE_OPTIONS if not o.secret}
    names = (name if _is_flag(o) else f"{name}=" for name, o in options.items())
    more = TEMPLATE.read_text(encoding="utf-8")
    for place, text in {
        "@NAMES@": " ".join(names),
        "@VALUES@": "\n".join(_cases(options)),
        "@DIRECTORIES@": " | ".join(DIRECTORY_OPTIONS),
        "@FILES@": " | ".join(name for name in FILE_OPTIONS if name in options),
    }.items():
        more = more.replace(place, text)
    return more + REGISTRATION.replace("_shtab_", "_") + "\n"


def _cases(options: dict[str, cfg.Opt]) -> Iterator[str]:
    for name, option in options.items():
        choices = getattr(option.type, "choices", None)
        if _is_flag(option):
            choices = ["true", "false"]
        if choices:
            yield f'    {name}) values="{" ".join(choices)}" ;;'


def _is_flag(option: cfg.Opt) -> bool:
    return isinstance(option.type, types.Boolean)
