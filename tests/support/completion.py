"""Completion of command lines for shells: contrib/generate makes the files of it.

shtab makes them from the parsers when swiftimgfs is packaged; nothing of it runs, or is
needed, where a shell completes.
"""

from __future__ import annotations

from typing import Final

import shtab

from swiftimgfs import cli, manual

# Each shell's file, as it is called where the shell looks for it.
FILES: Final = {"bash": "swiftimgfs", "zsh": "_swiftimgfs", "fish": "swiftimgfs.fish"}
DIRECTORIES: Final = {"mountpoint", "directory"}
PATHS: Final = {"paths", "path", "target", "config_file", "mountpoints"}


def completions() -> dict[str, str]:
    """Return what each shell reads, by the shell's name."""
    parser = cli.build_parser()
    for verb in manual.subparsers_of(parser).choices.values():
        for action in manual.shown_actions(verb):
            if action.dest in DIRECTORIES:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab's own
            elif action.dest in PATHS:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # as above
    return {shell: shtab.complete(parser, shell) for shell in FILES}
