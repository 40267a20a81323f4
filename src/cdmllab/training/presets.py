"""Presets: YAML files of experiments in the folder ``presets``, with one level of ``base:``.

The first lines of a preset are comments with its description, command, cost and expected result.
Files whose names begin with an underscore are bases only.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cdmllab._util.files import parse_yaml
from cdmllab.errors import CdmlLabError, did_you_mean, plain, reading
from cdmllab.training import yaml_header
from cdmllab.training.config import Config

_DEEPEST = 8  # dots in the key of a setting
FOLDER = Path(__file__).resolve().with_name("presets")


def names() -> tuple[str, ...]:
    """The names of all presets, such as ``lab/cpu/arcface``."""
    files = (
        file.relative_to(FOLDER).with_suffix("")
        for file in FOLDER.rglob("*.yaml")
        if file.name[0] != "_"
    )
    return tuple(sorted(file.as_posix() for file in files))


def load(name: str, settings: Iterable[str | Mapping[str, Any]] = ()) -> Config:
    """Load the config of a preset.

    Parameters
    ----------
    name : of a preset, or the path of a YAML file, whose name is then the name of its runs
    settings : changes, such as ``"loss.margin_rad=0.45"`` or ``{"loss.margin_rad": 0.45}``

    Raises
    ------
    CdmlLabError : no such preset, invalid YAML, an unknown key or a value out of range; names the
        key
    """
    path = _path(name)
    with reading(path, "a usable preset"):
        return _load(name, path, settings)


def _load(name: str, path: Path, settings: Iterable[str | Mapping[str, Any]]) -> Config:
    values, label = _of_file(path), path.name if path.is_absolute() else str(path)
    # A name in the file has priority over the name of the file.
    alone = {"name": _called(path), **values}
    changed, written = alone, []
    for setting in settings:
        for key, value in [_parsed(setting)] if isinstance(setting, str) else setting.items():
            # Each dot is one more level of dicts, and merging them is recursive.
            if key.count(".") > _DEEPEST:
                raise CdmlLabError(f"{path}: no setting {plain(key, 60)}")
            # a.b=1 becomes {"a": {"b": 1}}.
            nested: Any = value
            for part in reversed(key.split(".")):
                nested = {part: nested}
            changed = _merge(changed, nested)
            written.append(f"{key}={value}")
    try:
        return Config.parse(changed)
    except ValidationError as error:
        # The settings are to blame if the file alone is a config.
        if written and _is_config(alone):
            label = f"{label} with {plain(', '.join(written), 200)}"
        raise CdmlLabError(f"{label}: {yaml_header.complaint(error, 'config')}") from None


def _is_config(values: Mapping[str, Any]) -> bool:
    try:
        Config.parse(values)
    except ValidationError:
        return False
    return True


def _of_file(path: Path) -> dict[str, Any]:
    """The settings of a file, merged with those of its base."""
    values = yaml_header.read(path)
    base = values.pop("base", None)
    if base is not None:
        if not isinstance(base, str):
            raise CdmlLabError(
                f"{path}: base must be the name of a file in the same folder, without .yaml"
            )
        below = yaml_header.read(path.parent / f"{base}.yaml")
        if "base" in below:
            raise CdmlLabError(
                f"{path}: its base {base} has a base itself, but only one level is allowed"
            )
        values = _merge(below, values)
    return values


def header(name: str) -> dict[str, str]:
    """The header of a preset: ``about``, ``command``, ``cost`` and ``expect``."""
    return yaml_header.header(_path(name))


def differing(one: Config, other: Config) -> list[tuple[str, Any, Any]]:
    """All keys, except the name, in which two configs differ, with both values.

    A dash is in the place of a key that a config does not have.
    """
    a, b = one.flat(), other.flat()
    rows: list[tuple[str, Any, Any]] = []
    # The keys of both configs, each once and in order.
    for section in dict.fromkeys((*a, *b)):
        x, y = a.get(section, "–"), b.get(section, "–")
        if isinstance(x, dict) and isinstance(y, dict):
            keys = dict.fromkeys((*x, *y))
            rows += [(f"{section}.{key}", x.get(key, "–"), y.get(key, "–")) for key in keys]
        elif section != "name":
            rows.append((section, x, y))
    return [row for row in rows if row[1] != row[2]]


def _parsed(setting: str) -> tuple[str, Any]:
    key, separator, text = setting.partition("=")
    if not separator:
        raise CdmlLabError(
            f"a setting is written key=value, such as loss.margin_rad=0.45; got {setting!r}"
        )
    return key, parse_yaml(text, f"the setting {setting!r}")


def _path(name: str) -> Path:
    if name in names():
        return FOLDER / f"{name}.yaml"
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    raise CdmlLabError(
        f"no preset {name!r}{did_you_mean(name, names())}; `cdmllab presets` lists them"
    )


def _called(path: Path) -> str:
    """The name of a preset; of any other file the file's name, whatever its folder."""
    if path.resolve().is_relative_to(FOLDER):
        return path.resolve().relative_to(FOLDER).with_suffix("").as_posix()
    return path.stem


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings; those above win.

    A section with another `name` replaces the whole section below, since it has other options.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(old, Mapping)
            and value.get("name", old.get("name")) == old.get("name")
        ):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged
