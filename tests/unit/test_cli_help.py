from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from pgqueue.cli.main import _COMMANDS, cli

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNNER = CliRunner()


def walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command below."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command, info_name="pgqueue")
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, (*path, name))


def found(path: tuple[str, ...]) -> click.Command:
    """Return the command of these words."""
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        below = command.get_command(click.Context(command), name)
        assert below is not None
        command = below
    return command


PATHS = list(walk(cli, ()))
LEAVES = [path for path in PATHS if not isinstance(found(path), click.Group)]


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_help_page_renders_and_says_what_the_command_does(path: tuple[str, ...]) -> None:
    """A description of one sentence at least, in every command and group."""
    result = RUNNER.invoke(cli, [*path, "--help"])

    assert result.exit_code == 0, result.output
    assert (found(path).help or "").strip()
    assert found(path).get_short_help_str(200).endswith((".", "?")) or path == ()


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    """No option without help text."""
    options = [p for p in found(path).params if isinstance(p, click.Option)]

    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_examples_that_parse(path: tuple[str, ...]) -> None:
    """Each example names its command and uses options that it has."""
    examples = [line for line in getattr(found(path), "examples", ()) if "pgqueue" in line]
    known = {option for p in (*found(path).params, *cli.params) for option in p.opts}
    known |= {option for p in found(path).params for option in p.secondary_opts}

    assert examples
    for line in examples:
        words = re.split(r"\bpgqueue ", line, maxsplit=1)[1].split(" | ")[0].split()
        assert " ".join(words).startswith(" ".join(path)) or line.startswith("export")
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_fits_an_ordinary_terminal(path: tuple[str, ...]) -> None:
    """Nothing but examples is wider than 80 columns."""
    text = RUNNER.invoke(cli, [*path, "--help"]).output.split("\nExamples:")[0]

    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_the_overview_lists_every_command() -> None:
    """By section; none is forgotten, none does not import."""
    output = RUNNER.invoke(cli, ["--help"]).output

    assert [name for name in _COMMANDS if f"  {name} " not in output] == []
    assert "does not work here" not in output


def test_a_broken_part_breaks_only_its_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The overview says so and goes on."""
    monkeypatch.setitem(_COMMANDS, "demo", ("no_such_module", "demo"))

    result = RUNNER.invoke(cli, ["--help"])

    assert result.exit_code == 0
    assert "does not work here" in result.output
    assert "  enqueue " in result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    """Exit code 2, on stderr."""
    result = RUNNER.invoke(cli, ["enqeue"])

    assert result.exit_code == 2
    assert "enqeue" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    """The one that click has for the shell, for the program `pgqueue`."""
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    result = RUNNER.invoke(cli, ["completion", shell])

    assert result.exit_code == 0, result.output
    assert "_PGQUEUE_COMPLETE" in result.stdout


def test_version_is_data_too() -> None:
    """`--json` before or after the command."""
    after = RUNNER.invoke(cli, ["version", "--json"])
    before = RUNNER.invoke(cli, ["--json", "version"])

    assert after.stdout == before.stdout
    assert '"pgqueue"' in after.stdout
