"""A file with the options of a whole run, one TOML table a stage: the command line over the file over the default.

    artifacts-dir = "runs/biomedical"

    [init]
    model-name = "openai-community/gpt2"
    raw-corpora-dir = "my/text"

    [select]
    swaps = 2000

A key is an option as `--help` shows it, without its dashes; a switch is true or false. Every table is checked whenever
one is read: a slip in [train] is found before hours of other stages.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.errors import ConfigError
from ivr.options.declared import Option, StageConfig, each, fault, options_of, own_options
from ivr.options.values import impossible_path, read_value

DEFAULT, COMMAND_LINE = "default", "command line"
KINDS = {int: "a whole number", float: "a number", bool: "true or false", Path: "a text", str: "a text"}


@dataclass(frozen=True)
class Chosen:
    """A stage's config, and where each of its values comes from: option's name -> default, command line or a file."""

    config: Any
    origins: Mapping[str, str]


def read_config_file(path: Path, configs: Mapping[str, type]) -> dict[str, dict[str, Any]]:
    """Read a file for stages with these config classes: {stage: {option's name: value}}, with "" for every stage.

    Raises ConfigError naming the file, the table and the key for what is unknown there or no possible value.
    """
    document = _read_toml(path)
    shared = [item for item in options_of(StageConfig) if item.kind is not bool]
    tables = {"": {key: value for key, value in document.items() if not isinstance(value, dict)}}
    tables |= {key: value for key, value in document.items() if isinstance(value, dict)}
    legal = {stage: _legal(own_options(config)) for stage, config in configs.items()} | {"": _legal(shared)}
    for stage in tables:
        if stage not in legal:
            meant = _nearest(stage, configs) or f"; there are {', '.join(configs)}"
            raise ConfigError(f"{path}: there is no stage [{stage}]{meant}")
    found: dict[str, dict[str, Any]] = {}
    for stage, table in tables.items():
        values = found[stage] = {}
        for key, value in table.items():
            place = f"{path}, {f'[{stage}] ' if stage else ''}{key}"
            item = legal[stage].get(key.replace("_", "-"))
            if item is None:
                raise ConfigError(f"{place}: no such option{_elsewhere(key, stage, legal)}")
            if item.name in values:
                raise ConfigError(f"{place}: it stands there twice, with a dash and with an underscore")
            values[item.name] = _value(item, value, place)
        _refuse_both(values, legal[stage].values(), f"{path}, [{stage}]")
    return found


def choose(config: type, stage: str, given: Mapping[str, Any], path: Path | None, file: Mapping[str, Any]) -> Chosen:
    """The config of a stage from what the command line gives, then the file that was read from `path`, then defaults.

    Of options that exclude each other, one that is given on the command line displaces those of the file.
    """
    items = options_of(config)
    words = {(item.facts["group"], item.facts["either"]) for item in items if item.name in given and _either(item)}
    known = {item.name for item in items}
    values = {name: value for name, value in given.items() if name not in known}  # what is passed on, of no option
    origins = {}
    from_file = {**file.get("", {}), **file.get(stage, {})}
    for item in items:
        displaced = _either(item) and (item.facts["group"], item.facts["either"]) in words
        if item.name in given:
            value = given[item.name]
            values[item.name] = tuple(value) if isinstance(value, list) else value
            origins[item.name] = COMMAND_LINE
        elif item.name in from_file and not displaced:
            values[item.name], origins[item.name] = from_file[item.name], str(path)
        else:
            origins[item.name] = DEFAULT
    return Chosen(config(**values), origins)


def show(stage: str, chosen: Chosen) -> str:
    """A config as a file that gives it, with the origin of each value; what has none stands there as a comment."""
    shared = {item.name for item in options_of(StageConfig)}
    lines: list[tuple[str, str]] = []
    for item in options_of(type(chosen.config)):
        if item.facts.get("positional") or item.name == "force":
            continue
        value = getattr(chosen.config, item.name)
        shown = f"# {item.key} is not given" if value is None else f"{item.key} = {_toml(value)}"
        if item.name not in shared and not any(line.startswith("[") for line, _ in lines):
            lines += [("", ""), (f"[{stage}]", "")]
        lines.append((shown, f"# {chosen.origins[item.name]}"))
    width = max(len(line) for line, origin in lines if origin)
    return "\n".join(f"{line:<{width}}  {origin}" if origin else line for line, origin in lines)


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    if not path.is_dir() and (problem := impossible_path(path)):
        raise ConfigError(f"--config {path} {problem}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"--config {path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"--config {path}: that is a directory; name a TOML file") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"--config {path} is not TOML ({type(error).__name__}: it is to be UTF-8 text)") from None
    except ValueError as error:  # of tomllib, or a number of thousands of digits
        raise ConfigError(f"--config {path} is not TOML: {error}") from None


def _legal(items: Iterable[Option]) -> dict[str, Option]:
    return {item.key: item for item in items if not item.facts.get("positional")}


def _value(item: Option, value: Any, place: str) -> Any:
    """The option's value of a TOML value."""
    try:
        if item.many:
            if not isinstance(value, list):
                raise ValueError("a list is needed, [...]")
            return tuple(_one(item, each) for each in value)
        found = _one(item, value)
    except ValueError as error:
        raise ConfigError(f"{place} = {_toml(value)}: {error}") from None
    if wrong := next(filter(None, (fault(item, one) for one in each(item, found))), ""):
        raise ConfigError(f"{place} = {_toml(value)}: {wrong}")
    return found


def _one(item: Option, value: Any) -> Any:
    if parse := item.facts.get("parse"):
        return parse(value if isinstance(value, str) else repr(value))
    wanted = {float: (int, float), Path: str}.get(item.kind, item.kind)
    if not isinstance(value, wanted) or (isinstance(value, bool) and item.kind is not bool):  # type: ignore[arg-type]
        raise ValueError(f"{KINDS[item.kind]} is needed")
    try:
        return read_value(Path, value) if item.kind is Path else item.kind(value)
    except OverflowError:
        raise ValueError(f"{KINDS[item.kind]} is needed, below 1e308") from None


def _either(item: Option) -> bool:
    return bool(item.facts.get("either"))


def _refuse_both(values: Mapping[str, Any], items: Iterable[Option], place: str) -> None:
    """Raises ConfigError for two options of which only one is given at a time; one at its default says nothing."""
    taken: dict[tuple[str, str], str] = {}
    for item in items:
        if values.get(item.name, item.default) != item.default and _either(item):
            both = (item.facts["group"], item.facts["either"])
            if both in taken:
                raise ConfigError(f"{place}: {taken[both]} and {item.key} exclude each other; leave one out")
            taken[both] = item.key


def _elsewhere(key: str, stage: str, legal: Mapping[str, Mapping[str, Option]]) -> str:
    """Where this key belongs, or which one may have been meant, or all there are."""
    key = key.replace("_", "-")
    if owners := [f"[{other}]" if other else "the top of the file" for other in legal if key in legal[other]]:
        return f"; it belongs in {' or '.join(owners)}"
    return _nearest(key, legal[stage]) or f"; there are {', '.join(legal[stage]) or 'none'}"


def _nearest(word: str, legal: Iterable[str]) -> str:
    import difflib

    found = difflib.get_close_matches(word, list(legal), n=1)
    return f"; the nearest is {found[0]}" if found else ""


def _toml(value: Any) -> str:
    """A value as TOML writes it.

    >>> _toml(("a", Path("b"), True, 1e-05))
    '["a", "b", true, 1e-05]'
    """
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)
