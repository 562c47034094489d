"""The table of options as text: for `--help` and docs/configuration.md.

The sample file is `oslo-config-generator`'s, from the same table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swiftimgfs.config.glance_options import GLANCE_OPTIONS
from swiftimgfs.config.options import OPTIONS, SHORT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oslo_config import cfg

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


def help_rows(options: Iterable[cfg.Opt]) -> list[str]:
    """Return a line of `--help` for each option."""
    return [f"  {option.name:<20} {option_help(option)}" for option in options]


def option_help(option: cfg.Opt) -> str:
    """Return in one line what an option means, what it can be, and its default."""
    text = option.help.removesuffix(".")
    return f"{text[0].lower()}{text[1:]}{_choices(option)} (default: {_default(option)})"


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


def _default(option: cfg.Opt) -> str:
    if option.default is None:
        return option.sample_default or "none"
    if isinstance(option.default, bool):
        return "on" if option.default else "off"
    if isinstance(option.default, list):
        return ", ".join(option.default) or "none"
    return str(option.default)
