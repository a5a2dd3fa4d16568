"""Where settings come from: a TOML file, and the environment, which overrides it. Read once by each process, in `deploy.settings.load`.

A key `[section] name` is overridden by the environment variable `BATOS_SECTION_NAME` (a list: with commas between). Unknown keys are
refused with an error that names the key and what is allowed.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

Sections = Mapping[str, type[Struct]]
"""Section name → its struct."""
Tables = dict[str, dict[str, Any]]
"""Section name → key → value, not yet looked at."""


class SettingsError(Exception):
    """A configuration that cannot be used: the message names the key, what was seen and what is allowed."""


def configuration_file(env: Mapping[str, str], here: Path, home: Path) -> Path | None:
    """`$BATOS_CONFIG`, else `batos.toml` in the directory `here`, else in the home; None where there is none. Raises SettingsError."""
    named = env.get("BATOS_CONFIG")
    if named:
        path = here / named
        if not path.is_file():
            raise SettingsError(f"BATOS_CONFIG names {path}, which is not a file")
        return path
    return next((path for path in (here / "batos.toml", home / "batos.toml") if path.is_file()), None)


def read_file(file: Path | None, sections: Sections) -> tuple[Tables, dict[str, str]]:
    """The tables of a file, and where each key came from. Raises SettingsError for what is no section, or no key of one."""
    tables: Tables = {name: {} for name in sections}
    origins = {f"{section}.{field.name}": "default" for section, struct in sections.items() for field in msgspec.structs.fields(struct)}
    if file is None:
        return tables, origins
    try:
        read = tomllib.loads(file.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error
    for section, table in read.items():
        if section not in tables:
            raise SettingsError(f"{file}: unknown section [{section}]; allowed: {', '.join(tables)}")
        if not isinstance(table, dict):
            raise SettingsError(f"{file}: {section} must be a table, [{section}]")
        for key, value in table.items():
            if f"{section}.{key}" not in origins:
                allowed = ", ".join(field.name for field in msgspec.structs.fields(sections[section]))
                raise SettingsError(f"{file}: unknown key {key} in [{section}]; allowed: {allowed}")
            tables[section][key] = value
            origins[f"{section}.{key}"] = str(file)
    return tables, origins


def override(tables: Tables, origins: dict[str, str], env: Mapping[str, str], sections: Sections) -> None:
    """Put what the environment says into the tables. Raises SettingsError."""
    for variable, text in env.items():
        section, _, key = variable.removeprefix("BATOS_").lower().partition("_")
        if not variable.startswith("BATOS_") or section not in tables:
            continue
        if f"{section}.{key}" not in origins:
            raise SettingsError(f"{variable} overrides nothing: [{section}] has no key {key}")
        kind = get_type_hints(sections[section], include_extras=True)[key]
        value: str | list[str] = [word.strip() for word in text.split(",") if word.strip()] if _is_list(kind) else text
        try:
            tables[section][key] = msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{variable}={text!r} refused: {error}") from error
        origins[f"{section}.{key}"] = variable


def _is_list(kind: Any) -> bool:
    return get_origin(get_args(kind)[0] if get_origin(kind) is Annotated else kind) is list
