"""What `--help` says, as man pages and as docs/commands.md: contrib/generate makes both.

The parsers are gone through, and not argparse's own text, which depends on the width of a
terminal and the version of Python. What stands after the options (examples, exit statuses)
is shown as it is.

Source: man-pages(7) for the sections, groff_man(7) for the macros.
"""

from __future__ import annotations

import argparse
from importlib import metadata
from typing import TYPE_CHECKING, Final

from swiftimgfs import cli, mount_helper

if TYPE_CHECKING:
    from collections.abc import Iterator

SEE_ALSO: Final = {
    "swiftimgfs": "mount.swiftimgfs(8)",
    "mount.swiftimgfs": "swiftimgfs-mount(1), mount(8), fstab(5)",
}
TITLE: Final = """\
# The commands

Made by contrib/generate from what `--help` says; each is a man page too
(`man swiftimgfs-mount`).
"""
_FILES: Final = """\
/etc/swiftimgfs/swiftimgfs.conf, ~/.config/swiftimgfs/swiftimgfs.conf
    Options of every mount, in [swiftimgfs].
/etc/swiftimgfs/NAME.env
    What the unit swiftimgfs@NAME mounts, where, and how.
/var/lib/swiftimgfs, ~/.local/state/swiftimgfs
    The journal of uploads, what waits for Swift, and logs.
"""


def man_pages() -> dict[str, str]:
    """Return every man page by its file name."""
    pages = {"swiftimgfs.1": _overview_page()}
    for verb, parser in verbs().items():
        pages[f"swiftimgfs-{verb}.1"] = man_page(f"swiftimgfs-{verb}", 1, parser)
    helper = mount_helper.build_parser()
    pages["mount.swiftimgfs.8"] = man_page("mount.swiftimgfs", 8, helper)
    return pages


def commands_page() -> str:
    """Return docs/commands.md."""
    parts = [TITLE]
    parsers = {f"swiftimgfs {verb}": parser for verb, parser in verbs().items()}
    parsers["mount.swiftimgfs"] = mount_helper.build_parser()
    for name, parser in parsers.items():
        parts.append(f"## {name}\n\n    {_synopsis(parser)}\n")
        parts.append(f"{_sentence(parser)}\n")
        options = [
            f"| `{_cell(_invocation(action))}` | {_cell(_help_of(action))} |"
            for action in shown_actions(parser)
        ]
        parts.append("\n".join(["| | |", "|---|---|", *options, ""]))
        if parser.epilog:
            parts.append(f"```text\n{parser.epilog.strip()}\n```\n")
    return "\n".join(parts)


def verbs() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each verb, by its name, in the order of `--help`."""
    subparsers = subparsers_of(cli.build_parser())
    for shown in subparsers._choices_actions:  # noqa: SLF001  # argparse has no other way
        parser = subparsers.choices[shown.dest]
        parser.description = parser.description or f"{str(shown.help).capitalize()}."
    return dict(subparsers.choices)


def man_page(name: str, section: int, parser: argparse.ArgumentParser) -> str:
    """Return the man page of one program or verb."""
    lines = [
        *_heading(name, section, _sentence(parser)),
        ".SH SYNOPSIS",
        f".B {_escaped(_synopsis(parser))}",
        ".SH DESCRIPTION",
        _escaped(_sentence(parser)),
        ".SH OPTIONS",
    ]
    for action in shown_actions(parser):
        lines += [".TP", f".B {_escaped(_invocation(action))}", _escaped(_help_of(action))]
    if parser.epilog:
        lines += [".SH NOTES", *_verbatim(parser.epilog)]
    other = SEE_ALSO.get(name, "swiftimgfs(1)")
    return "\n".join([*lines, ".SH SEE ALSO", _escaped(other), ""])


def _overview_page() -> str:
    parser = cli.build_parser()
    subparsers = subparsers_of(parser)
    lines = [
        *_heading("swiftimgfs", 1, _sentence(parser)),
        ".SH SYNOPSIS",
        ".B swiftimgfs VERB ...",
        ".SH DESCRIPTION",
        _escaped(_sentence(parser)),
        "Each verb has a page of its own.",
    ]
    for shown in subparsers._choices_actions:  # noqa: SLF001  # as above
        lines += [".TP", f".BR swiftimgfs\\-{_escaped(shown.dest)} (1)"]
        lines.append(_escaped(shown.help or ""))
    lines += [".SH FILES", *_verbatim(_FILES)]
    return "\n".join([*lines, ".SH SEE ALSO", SEE_ALSO["swiftimgfs"], ""])


def _heading(name: str, section: int, sentence: str) -> Iterator[str]:
    version = metadata.version("swiftimgfs")
    yield f'.TH "{name.upper()}" "{section}" "" "swiftimgfs {version}" "swiftimgfs"'
    yield ".SH NAME"
    yield f"{_escaped(name)} \\- {_escaped(sentence[:1].lower() + sentence[1:].rstrip('.'))}"


def subparsers_of(
    parser: argparse.ArgumentParser,
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Return where the verbs of a parser are."""
    (found,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001  # as above
    return found


def _sentence(parser: argparse.ArgumentParser) -> str:
    """Return what a parser is for, in a sentence or some."""
    return " ".join((parser.description or "").split())


def _synopsis(parser: argparse.ArgumentParser) -> str:
    names = [_argument(action) for action in shown_actions(parser) if not action.option_strings]
    return " ".join([parser.prog, "[OPTION]...", *names])


def shown_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return arguments, then options, without those that are not told of."""
    actions = [a for a in parser._actions if a.help != argparse.SUPPRESS]  # noqa: SLF001  # as above
    return sorted(actions, key=lambda action: bool(action.option_strings))


def _invocation(action: argparse.Action) -> str:
    """Return how an argument is given: `--jobs N, -j N`."""
    if not action.option_strings:
        return _argument(action)
    value = "" if action.nargs == 0 else f" {_argument(action)}"
    return ", ".join(f"{text}{value}" for text in action.option_strings)


def _argument(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest.upper())
    if action.choices and not action.metavar:
        name = "|".join(str(choice) for choice in action.choices)
    match action.nargs:
        case "+":
            return f"{name}..."
        case "*":
            return f"[{name}]..."
        case "?":
            return f"[{name}]"
        case _:
            return name


def _help_of(action: argparse.Action) -> str:
    values = {**vars(action), "prog": "swiftimgfs"}
    return " ".join(((action.help or "") % values).split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escaped(text: str) -> str:
    """Return text that groff shows as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{text}" if text.startswith(".") else text


def _verbatim(text: str) -> Iterator[str]:
    yield ".nf"
    yield from (_escaped(line) for line in text.strip().splitlines())
    yield ".fi"
