"""`batos keys`: who may use the service beside its owner, over TCP with a key or as another user of this host. No service need run."""

from pathlib import Path
from typing import Annotated, Any

import typer
import zmq
from msgspec import to_builtins
from msgspec.structs import replace
from rich.table import Table
from rich.text import Text
from zmq.utils import z85

from deploy import keys, settings
from deploy.keys import ClientKey, PrincipalRecord
from deploy.settings import SettingsError
from ui_client import report
from ui_client.report import Json, answering

_RIGHTS = "read,send,create"

_Name = Annotated[str, typer.Argument(help="Name of the principal.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(name="keys", help="Who may use this image beside you, with which rights and quotas.", no_args_is_help=True)
    group.command()(add)
    group.command("list")(list_)
    group.command()(remove)
    app.add_typer(group)


def add(
    name: _Name,
    rights: Annotated[str, typer.Option(help="Of read, send, create, policy, administer; commas between.")] = _RIGHTS,
    quota: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER, one of [quotas]; may be given several times.")] = None,
    public: Annotated[str, typer.Option(help="The tool's own public key (Z85); without it a key pair is made.")] = "",
    user: Annotated[int | None, typer.Option(help="The number of a user of this host, instead of a key.")] = None,
    to: Annotated[Path | None, typer.Option(help="The key file to write; by default NAME.key here.")] = None,
    as_json: Json = False,
) -> None:
    """Let somebody in, or change what a principal may do. `local` is you. In force at once, also while the service runs."""
    with answering(as_json):
        configuration = settings.load()
        defaults = configuration.settings.quotas
        before = keys.read(configuration.home, defaults)[0].get(keys.check_name(name))
        record = PrincipalRecord(keys.rights_of(rights), quotas=_quotas(quota or []))
        record.quota(defaults)
        summary: dict[str, Any] = {"name": name, "rights": sorted(record.rights), "quotas": record.quotas}
        if name == keys.LOCAL and (public or user is not None or to is not None):
            raise SettingsError("local is the owner of the home, and needs neither a key nor a user; choose another name")
        if user is not None:
            record = replace(record, uid=user)
        elif public:
            record = replace(record, public=_checked(public))
        elif name == keys.LOCAL or (before is not None and to is None):
            record = replace(record, public=before and before.public, uid=before and before.uid)
        else:
            summary["file"] = str((to or Path(f"{name}.key")).absolute())
            record = replace(record, public=_make(configuration, Path(summary["file"])))
        keys.write(configuration.home, name, record)
        summary["public"], summary["uid"] = record.public, record.uid
        if as_json:
            report.result(summary)
        else:
            report.note(f"{name} may {', '.join(summary['rights']) or 'nothing'}", style="green")
            if "file" in summary:
                report.note(f"its key is in {summary['file']}: hand it over, and set BATOS_BRIDGE_KEY to it there; it is kept nowhere else")


def list_(as_json: Json = False) -> None:
    """Show the principals, their rights, and quotas that differ from [quotas]."""
    with answering(as_json):
        configuration = settings.load()
        records, faults = keys.read(configuration.home, configuration.settings.quotas)
        own = PrincipalRecord(rights=frozenset(configuration.settings.bridge.rights))
        everybody = {keys.LOCAL: own, **records}
        if as_json:
            principals = {name: to_builtins(record) | {"rights": sorted(record.rights)} for name, record in everybody.items()}
            report.result({"principals": principals, "faults": faults})
            return
        table = Table("principal", "rights", "by", "quotas", box=None, pad_edge=False, header_style="bold")
        for name, record in everybody.items():
            by = "the home's owner" if name == keys.LOCAL else record.proof
            quotas = ", ".join(f"{quota}={number:g}" for quota, number in record.quotas.items())
            table.add_row(Text(name), Text(", ".join(sorted(record.rights))), Text(by), Text(quotas))
        report.out.print(table)
        for fault in faults:
            report.note(fault, style="yellow")


def remove(name: _Name, as_json: Json = False) -> None:
    """Lock a principal out, at once: its connections are refused from now on."""
    with answering(as_json):
        keys.remove(settings.load().home, name)
        if as_json:
            report.result({"removed": name})
        else:
            report.note(f"{name} is locked out", style="green")


def _make(configuration: settings.Configuration, file: Path) -> str:
    """Make a key pair, write the tool's file, and return its public key."""
    if file.exists():
        raise SettingsError(f"{file} exists; remove it, or name another with --to")
    server, _ = keys.server_pair(configuration.home, zmq.curve_keypair)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    keys.write_private(file, ClientKey(public, secret, server.decode()))
    return public


def _checked(public: str) -> str:
    try:
        if len(z85.decode(public)) == 32:
            return public
    except (ValueError, KeyError):
        pass
    raise SettingsError(f"{public!r} is no public key: 32 bytes as 40 characters of Z85")


def _quotas(texts: list[str]) -> dict[str, float]:
    quotas: dict[str, float] = {}
    for entry in texts:
        name, _, number = entry.partition("=")
        try:
            quotas[name.strip()] = float(number)
        except ValueError:
            raise SettingsError(f"--quota {entry!r} is not NAME=NUMBER, such as messages=100") from None
    return quotas
