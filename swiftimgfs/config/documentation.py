"""The table of options as text: for `--help` and docs/configuration.md.

The sample file is `oslo-config-generator`'s, from the same table.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from swiftimgfs.config.glance_options import GLANCE_OPTIONS
from swiftimgfs.config.options import OPTIONS, SHORT_NAMES

if TYPE_CHECKING:
    from oslo_config import cfg

_HELP_WIDTH = 98
_HELP_INDENT = 29
_SHORT = {long: short for short, long in SHORT_NAMES.items()}

INTRODUCTION = """\
# Configuration

<!-- Made from the table in swiftimgfs/config by contrib/generate; a test compares. -->

Every option can be given as `-o NAME=VALUE,…` (with a backslash before a comma that belongs to a value), in the group
`[swiftimgfs]` of a configuration file, and as the environment variable `OS_SWIFTIMGFS__NAME`. From strong to weak: `-o`, the
`glance:` source's own files, the environment, `~/.config/swiftimgfs/swiftimgfs.conf`, `/etc/swiftimgfs/swiftimgfs.conf`; `--config-file`
replaces the last two. `contrib/swiftimgfs.conf.sample` has them all.

Sizes are bytes with K, M, G or T for powers of 1024; those of Glance's own options are in its unit, "MB" of 1,024,000 bytes.
"""

GLANCE_INTRODUCTION = """\
## Glance's own options

Under the names, with the types, defaults and limits that they have in `glance-api.conf`, and with `-o` and in `[swiftimgfs]`
also without `swift_store_` where the last column says so. Secrets are taken from files and the environment only.
[glance.md](glance.md) says what each does in a mount.
"""


def options_help() -> str:
    """Return the options as `--help` lists them: ours, then Glance's by their short names."""
    glance = (option for option in GLANCE_OPTIONS if not option.secret)
    return "\n".join(
        [
            "options (-o NAME=VALUE,...; sizes take K, M, G or T):",
            *(_help_entry(option.name, option, _default(option)) for option in OPTIONS),
            "",
            "Glance's options, also with swift_store_ before them, and with Glance's sizes:",
            *(_help_entry(_SHORT.get(o.name, o.name), o, _fixed_default(o)) for o in glance),
        ]
    )


def _help_entry(name: str, option: cfg.Opt, default: str) -> str:
    """Return what an option means, what it can be, and its default, beside its name."""
    text = option.help.removesuffix(".")
    start = text[0].lower() if text[1].islower() else text[0]  # URL stays URL
    told = f"{start}{text[1:]}{_choices(option)} (default: {default})"
    first = f"  {name:<{_HELP_INDENT - 3}} "
    if len(first) > _HELP_INDENT:
        first = first.rstrip() + "\n" + " " * _HELP_INDENT
    return first + "\n".join(
        textwrap.wrap(told, _HELP_WIDTH - _HELP_INDENT, break_on_hyphens=False)
    ).replace("\n", "\n" + " " * _HELP_INDENT)


def configuration_page() -> str:
    """Return docs/configuration.md."""
    own = [
        f"| `{o.name}` | {_visible(_default(o))} | {o.help.removesuffix('.')}{_choices(o)} |"
        for o in OPTIONS
    ]
    glance = [
        f"| `{o.name}` | {_glance_default(o)} | {o.help.removesuffix('.')}{_limits(o)} | {_short(o)} |"
        for o in GLANCE_OPTIONS
    ]
    return "\n".join(
        [
            INTRODUCTION,
            "| option | default | meaning |",
            "|---|---|---|",
            *own,
            "",
            GLANCE_INTRODUCTION,
            "| option | default | meaning | short name |",
            "|---|---|---|---|",
            *glance,
            "",
        ]
    )


def _short(option: cfg.Opt) -> str:
    if option.secret:
        return "(secret)"
    return f"`{_SHORT[option.name]}`" if option.name in _SHORT else ""


def _choices(option: cfg.Opt) -> str:
    choices = getattr(option.type, "choices", None) or {}
    told = "; ".join(f"{name}: {text}" for name, text in choices.items() if text)
    return f" ({told})" if told else ""


def _limits(option: cfg.Opt) -> str:
    """Return what else the type allows: some texts, or a range."""
    choices = getattr(option.type, "choices", None) or {}
    least, most = getattr(option.type, "min", None), getattr(option.type, "max", None)
    if len(choices) > 1:
        return f" ({', '.join(choices)})"
    if most is not None:
        return f" (from {least} to {most})"
    return f" (at least {least})" if least else ""


def _visible(text: str) -> str:
    """Return a text in which Markdown sees no HTML."""
    return f"`{text}`" if "<" in text else text


def _glance_default(option: cfg.Opt) -> str:
    """Return the default; Glance's `sample_default` is none, but an example."""
    if option.default is None:
        example = option.sample_default
        return f"none (such as `{example}`)" if example else "none"
    return _default(option)


def _fixed_default(option: cfg.Opt) -> str:
    """Return the default of an option of Glance: its `sample_default` is but an example."""
    return "none" if option.default is None else _default(option)


def _default(option: cfg.Opt) -> str:
    if option.default is None:
        return option.sample_default or "none"
    if isinstance(option.default, bool):
        return "on" if option.default else "off"
    if isinstance(option.default, list):
        return ", ".join(option.default) or "none"
    return str(option.default)
