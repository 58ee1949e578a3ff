"""Kind `set_parameter`: one setting, the same on every node, in the part of the managed block that people chose."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.blocks import checks, service
from jobs.blocks.chosen import MANAGED, chosen_in
from jobs.blocks.configuration import chosen_file
from jobs.blocks.following import role_scene
from jobs.blocks.line import Line
from jobs.blocks.params import Reader
from jobs.blocks.scene import Scene, has_file, on_host, postgres_of, request_of, sql_on
from jobs.blocks.standing import is_up, the_primary, would_be_primary
from jobs.kinds.control import followers_step, look_step, reload_command
from jobs.kinds.setting_checks import number_checks
from jobs.recipe import Brief, Check, NodeSpec, ParamsError, Step, World
from remote import config, postgres
from remote.command import Command, WriteFile
from remote.facts import Answered, Facts, FactsRequest, Postgres, Unreachable

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)?")
SEPARATOR = "\x1f"
FIELDS = ("vartype", "context", "source", "unit", "min_val", "max_val", "enumvals", "boot_val", "setting")
RESTART = "postmaster"


@dataclass(frozen=True)
class SetParameterParams:
    """name: as pg_settings has it, in small letters. value: as a configuration file takes it, without its quotes."""

    name: str
    value: str


def set_parameter_params(data: Mapping[str, Any]) -> SetParameterParams:
    read = Reader(data)
    name = read.required("name")
    if not NAME.fullmatch(name):
        raise ParamsError("name", f"{name!r} cannot be a setting's name", "letters, digits and underscores")
    params = SetParameterParams(name.lower(), read.text("value"))
    read.end()
    if params.name in MANAGED:
        raise ParamsError("name", f"{params.name} is not chosen here", MANAGED[params.name])
    return params


@dataclass(frozen=True)
class Known:
    """What one server says of the setting, and what it would make of the new value (`canonical`, in pg_settings' unit)."""

    vartype: str
    context: str
    source: str
    unit: str
    setting: str
    canonical: str
    refusal: str = ""

    @property
    def is_applied(self) -> bool:
        return self.setting == self.canonical or config.is_same_value(self.setting, self.canonical, self.unit)

    @property
    def is_higher(self) -> bool:
        """It runs with more than is wanted."""
        return _number(self.setting) > _number(self.canonical)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


@dataclass(frozen=True)
class SetParameter:
    """See docs/kinds/set_parameter.md."""

    name: str = "set_parameter"
    label: str = "Change a setting"

    def params(self, data: Mapping[str, Any]) -> SetParameterParams:
        return set_parameter_params(data)

    def title(self, params: SetParameterParams) -> str:
        return f"Set {params.name} to {params.value or 'nothing'} on every node"

    def nodes(self, params: SetParameterParams, brief: Brief) -> tuple[str, ...]:  # noqa: ARG002
        return tuple(brief.nodes)

    def requests(self, params: SetParameterParams, brief: Brief) -> Mapping[str, FactsRequest]:
        found = {}
        for name, spec in brief.nodes.items():
            request = request_of(brief, spec)
            asked = (("known", _known_question(spec, params)), ("value", _value_question(spec, params)))
            found[name] = FactsRequest(**{**vars(request), "questions": asked})
        return found

    def checks(self, params: SetParameterParams, brief: Brief, world: World) -> Sequence[Check]:
        primary, refusal = the_primary(brief, world)
        away = {name for name, facts in world.nodes.items() if isinstance(facts, Unreachable)}
        found = checks.host_checks(brief, world, tuple(brief.nodes), away)
        if primary is None:
            return [*found, refusal]
        scene = role_scene(primary.name, brief, world)
        found += [_away_check(scene, world, name, params) for name in sorted(away)]
        for spec in scene.members:
            found += _member_checks(scene, params, world, spec)
        if not any(check.level == "refused" for check in found):
            found += number_checks(scene, world, params.name, known_of(scene, world, scene.primary, params).canonical)
        return found

    def steps(self, params: SetParameterParams, brief: Brief, world: World) -> Sequence[Step]:
        scene = _scene(brief, world)
        followers = sorted(scene.followers, key=lambda spec: spec.name)
        members = (*followers, scene.primary)
        is_restart = known_of(scene, world, scene.primary, params).context in (RESTART, "")
        steps = [look_step(scene.primary, lambda now: _is_settled(scene, params, now), checkpoint=is_restart)]
        steps += [_reset_step(params, spec) for spec in members if scene.version.has_auto_conf]
        steps += [_apply_step(scene, params, world, spec) for spec in members]
        if _is_watched(scene, params):
            for spec in followers:
                steps += [_replayed_step(scene, params, spec), _lower_step(scene, params, world, spec)]
        return [*steps, followers_step(brief, scene.primary)]

    def summary(self, params: SetParameterParams, brief: Brief, world: World) -> Sequence[str]:
        scene = _scene(brief, world)
        known = {spec.name: known_of(scene, world, spec, params) for spec in scene.members}
        lines = [
            f"{name}: {one.setting or '(empty)'} → {one.canonical or '(empty)'}{_in_unit(one)}." for name, one in known.items()
        ]
        if all(one.is_applied for one in known.values()):
            lines.append("Every server runs with it already.")
        elif known[scene.primary.name].context == RESTART:
            lines.append("It is only read at the start: each server is restarted, one after the other, the primary last.")
            if known[scene.primary.name].is_higher and _is_watched(scene, params):
                lines[-1] = (
                    "It is only read at the start: the primary is restarted first, and its standbys when they have replayed that."
                )
            if _is_watched(scene, params):
                lines.append("A standby must never have less of it than the primary: it would stop replaying, or not start at all.")
        else:
            lines.append("It is read by a reload: no session ends.")
        return lines


def _in_unit(known: Known) -> str:
    return f" (in units of {known.unit})" if known.unit else ""


# -- what the servers say ------------------------------------------------------------------------------------------------------


def _known_question(spec: NodeSpec, params: SetParameterParams) -> Command:
    columns = " || E'\\x1f' || ".join(
        "coalesce(array_to_string(enumvals, ', '), '')" if name == "enumvals" else f"coalesce({name}, '')" for name in FIELDS
    )
    sql = f"SELECT {columns} FROM pg_settings WHERE lower(name) = {postgres.literal(params.name)};\n"  # noqa: S608
    return on_host("if_it_runs.sh", spec.data_directory, spec.bin_directory, spec.owner, user=spec.owner, stdin=sql, mutates=False)


def _value_question(spec: NodeSpec, params: SetParameterParams) -> Command:
    """The server's own program reads the files and this value, says what it makes of it, and ends."""
    argv = (f"{spec.bin_directory}/postgres", "-D", spec.config_directory, "-c", f"{params.name}={params.value}", "-C", params.name)
    return Command(argv, user=spec.owner, mutates=False, environment=(("LC_ALL", "C"),))


def known_of(scene: Scene, world: World, spec: NodeSpec, params: SetParameterParams) -> Known:
    facts = world.nodes.get(spec.name)
    answers = facts.answers if isinstance(facts, Facts) else {}
    row = dict(zip(FIELDS, answers.get("known", Answered(-1)).text.strip("\n").split(SEPARATOR), strict=False))
    value = answers.get("value", Answered(-1))
    canonical, refusal = params.value, ""
    if scene.version.has_config_query:
        canonical = value.text.strip("\n") if value.is_right else params.value
        refusal = "" if value.is_right else _reason(value.text)
    return Known(
        vartype=row.get("vartype", ""), context=row.get("context", ""), source=row.get("source", ""), unit=row.get("unit", ""),
        setting=row.get("setting", ""), canonical=canonical, refusal=refusal,
    )  # fmt: skip


def _reason(text: str) -> str:
    """The server's sentence, without its time and level."""
    lines = [re.sub(r"^.*?(FATAL|ERROR|LOG|HINT): +", "", line).strip() for line in text.splitlines() if line.strip()]
    return ". ".join(dict.fromkeys(lines)) or "the server's program refuses it"


# -- checks --------------------------------------------------------------------------------------------------------------------


def _scene(brief: Brief, world: World) -> Scene:
    return role_scene(would_be_primary(brief, world).name, brief, world)


def _is_watched(scene: Scene, params: SetParameterParams) -> bool:
    """Whether a standby must have at least what the primary has."""
    return params.name in scene.version.standby_at_least


def _away_check(scene: Scene, world: World, name: str, params: SetParameterParams) -> Check:
    line, facts = Line("host.reachable", name, "The host answers"), world.nodes[name]
    assert isinstance(facts, Unreachable)
    if _is_watched(scene, params):
        reason = f"{facts.message}. With less of {params.name} than the primary it could not follow on"
        return line.refused(reason, f"{facts.mend}. If it is gone for good, remove {name} from the panel first")
    return line.warning(f"{facts.message}. It keeps the value that it has", "set it again when it answers")


def _member_checks(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec) -> list[Check]:
    line, server = Line("parameter.known", spec.name, f"{params.name} as {spec.name} knows it"), postgres_of(world, spec)
    if server is None or not is_up(server):
        return [
            line.refused("PostgreSQL does not answer there, so it cannot say what it would make of it", f"start {spec.name} first")
        ]
    known = known_of(scene, world, spec, params)
    hidden = "the database postgres, or the panel's account in it, has a value of its own, which hides what the file says"
    refusals = (
        (not known.context, f"PostgreSQL {server.major} has no setting of this name", "look it up: SHOW ALL lists every one"),
        (known.context == "internal", "it was fixed when the server or its data directory was made", "no setting changes it"),
        (known.source in ("command line", "environment variable"), f"it is given on the {known.source}, which wins over every file",
         f"take it out of what starts PostgreSQL on {spec.name}"),
        (known.source in ("database", "user", "database user"), hidden, f"take that off first (ALTER ROLE … RESET {params.name})"),
    )  # fmt: skip
    for is_so, reason, mend in refusals:
        if is_so:
            return [line.refused(reason, mend)]
    if known.refusal:
        return [line.refused(known.refusal, _range(world, spec, known))]
    return [line.ok(f"{known.setting or 'empty'} now"), *_file_check(scene, params, world, spec)]


def _range(world: World, spec: NodeSpec, known: Known) -> str:
    row = dict(zip(FIELDS, world.facts(spec.name).answers["known"].text.strip("\n").split(SEPARATOR), strict=False))
    if row.get("enumvals"):
        return f"one of {row['enumvals']}"
    if row.get("min_val"):
        return f"from {row['min_val']} to {row['max_val']}" + (f", in units of {known.unit}" if known.unit else "")
    return "on or off" if known.vartype == "bool" else f"a {known.vartype}"


def _file_check(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec) -> list[Check]:
    try:
        _file(scene, params, world, spec)
    except (config.ConfigDamaged, ValueError) as error:
        line = Line("host.configuration", spec.name, "Its configuration file can be written back")
        return [line.refused(str(error), f"mend it on {spec.name}", f"grep -n pgpanel {spec.config_directory}/postgresql.conf")]
    return []


# -- steps ---------------------------------------------------------------------------------------------------------------------


def _file(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec) -> WriteFile:
    """Every node gets all that was chosen so far, as the primary has it."""
    server = postgres_of(world, scene.primary)
    chosen = chosen_in(server.config_text) if server else {}
    return chosen_file(scene, world, spec, chosen | {params.name: params.value})


def _reset_step(params: SetParameterParams, spec: NodeSpec) -> Step:
    def done(world: World) -> bool:
        server = postgres_of(world, spec)
        return server is None or params.name not in config.parse_settings(server.auto_config_text)

    return Step(
        key=f"parameter.reset#{spec.name}", node=spec.name, title="Reset what ALTER SYSTEM says of it", done=done,
        actions=lambda world: (sql_on(world, spec, f"ALTER SYSTEM RESET {_word(params.name)};\n"),),
        why="postgresql.auto.conf wins over postgresql.conf.",
    )  # fmt: skip


def _word(name: str) -> str:
    return ".".join(postgres.identifier(part) for part in name.split("."))


def _is_applied(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec) -> bool:
    server = postgres_of(world, spec)
    is_read = is_up(server) and known_of(scene, world, spec, params).is_applied
    return is_read and has_file(world, _file(scene, params, world, spec), spec)


def _is_settled(scene: Scene, params: SetParameterParams, world: World) -> bool:
    return all(_is_applied(scene, params, world, spec) for spec in scene.members)


def _must_wait(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec) -> bool:
    """A standby whose value is lowered goes after the primary."""
    return spec != scene.primary and _is_watched(scene, params) and known_of(scene, world, spec, params).is_higher


def _apply_step(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec) -> Step:
    return _change_step(
        scene, params, world, spec, key=f"parameter.apply#{spec.name}",
        done=lambda now: _must_wait(scene, params, now, spec) or _is_applied(scene, params, now, spec),
    )  # fmt: skip


def _lower_step(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec) -> Step:
    """Needed only where the one above had to wait."""
    step = _change_step(
        scene, params, world, spec, key=f"parameter.lower#{spec.name}", done=lambda now: _is_applied(scene, params, now, spec)
    )
    return Step(**{**vars(step), "forecast": lambda now: _must_wait(scene, params, now, spec)})


def _change_step(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec, *, key: str, done: Any) -> Step:
    is_restart = _needs_restart(scene, params, world, spec)
    role = "primary" if spec == scene.primary else "standby"

    def actions(now: World) -> Sequence[Any]:
        restart = _needs_restart(scene, params, now, spec)
        after = service.restart_command(now, spec) if restart else reload_command(spec, scene.version)
        return (_file(scene, params, now, spec), after)

    return Step(
        key=key, node=spec.name, title=f"Write it on {spec.name}, and {'restart' if is_restart else 'reload'}", done=done,
        actions=actions, within_seconds=300, reads=(scene.primary.name,), diagnosis=service.log_tail(spec),
        restarts=f"PostgreSQL on {spec.name}, the {role}: its sessions end" if is_restart and role == "primary"
        else f"PostgreSQL on {spec.name}, a standby: its sessions end" if is_restart else "",
        why="Done when the running server has the value.",
    )  # fmt: skip


def _needs_restart(scene: Scene, params: SetParameterParams, world: World, spec: NodeSpec) -> bool:
    """Not where it runs with the value already; yes where it does not answer, in the middle of a restart."""
    known = known_of(scene, world, spec, params)
    return known.context in (RESTART, "") and not known.is_applied


def _replayed_step(scene: Scene, params: SetParameterParams, spec: NodeSpec) -> Step:
    """What the primary was restarted with comes to the standbys as a WAL record, and ends up in their control files."""

    def is_replayed(server: Postgres | None, wanted: float) -> bool:
        control = server.control if server else None
        return control is not None and _number(str(getattr(control, params.name))) <= wanted

    def done(world: World) -> bool:
        known = known_of(scene, world, spec, params)
        return not known.is_higher or is_replayed(postgres_of(world, spec), _number(known.canonical))

    return Step(
        key=f"parameter.replayed#{spec.name}", node=spec.name, title=f"{spec.name} has replayed that the primary has less of it",
        done=done, within_seconds=300, why="Restarted before, it would find in its WAL that the primary has more, and stop.",
    )  # fmt: skip


KIND = SetParameter()
