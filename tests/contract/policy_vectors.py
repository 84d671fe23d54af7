"""Makes policy.json: what the Python policy and the gate in C must both answer.

    python tests/contract/policy_vectors.py          writes the file
    python tests/contract/policy_vectors.py --check  fails where the file is not what this would write

The answers do not come from the policy: the two grids below are the protocol's table of rights, copied by hand and
expanded by rules simple enough to read (an own subject or not, an open room or not, …), and the cases after them are
written one by one. `rule` names the rule that a check is there for.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("policy.json")

# - nobody's, o with one's own subject in it, a whatever subject. One row a topic, one column a role.
PUBLISH_GRID = """
                  rooms tempo teacher student device viewer   qos retain
beat              -     a     -       -       -      -        0   no
tempo             a     -     -       -       -      -        1   yes
room              a     -     -       -       -      -        1   yes
member/*          a     -     -       -       -      -        1   yes
note/*            a     -     o       o       o      -        0   no
midi/*            a     -     o       o       o      -        0   no
clock/*/q         a     -     o       o       o      o        0   no
clock/*/r         a     -     -       -       -      -        0   no
control/*         a     -     o       -       -      -        1   no
control/*/reply   a     -     -       -       -      -        1   no
feedback/*        a     -     -       -       -      -        0   no
limit/*           a     -     -       -       -      -        0   no
presence/*        a     -     o       o       o      o        1   yes
device/*/room     a     -     -       -       -      -        1   yes
"""
READ_GRID = """
                  rooms tempo teacher student device viewer
beat              a     -     a       a       a      a
tempo             a     a     a       a       a      a
room              a     -     a       a       a      a
member/*          a     -     a       a       a      a
note/*            a     -     a       a       a      a
midi/*            a     -     a       a       a      a
clock/*/q         a     -     -       -       -      -
clock/*/r         a     -     o       o       o      o
control/*         a     -     -       -       -      -
control/*/reply   a     -     o       -       -      -
feedback/*        a     -     a       o       o      o
limit/*           a     -     a       o       o      o
presence/*        a     -     a       -       -      -
device/*/room     a     -     -       -       o      -
"""
RULE = {
    "rooms": "ACL-2",
    "tempo": "ACL-3",
    "teacher": "ACL-4",
    "student": "ACL-5",
    "device": "ACL-6",
    "viewer": "ACL-7",
}

HOME, OTHER, SHUT = "MUSIC-1234", "DRUM-0001", "SHUT-9999"
LOG = [
    f"open lincoln {HOME}",
    f"open lincoln {OTHER}",
    f"open lincoln {SHUT}",
    f"open lincoln-2 {HOME}",
    f"open jefferson {HOME}",
    f"assign lincoln d-drum-3 {HOME}",
    f"close lincoln {SHUT}",
]


def client(role: str, sub: str, tenant: str = "lincoln", room: str | None = None, **more: Any) -> dict[str, Any]:
    """A client as the vectors write it."""
    made = {"role": role, "tenant": tenant, "sub": sub, "room": room, "client_id": f"{tenant}_{sub}", "local": False}
    return made | more


CLIENTS = {
    "rooms": client("rooms", "rooms", "bandroom", local=True),
    "tempo": client("tempo", "tempo-0", "bandroom", local=True),
    "teacher": client("teacher", "t-ada"),
    "student": client("student", "s-7f3k2", room=HOME),
    "device": client("device", "d-drum-3"),
    "viewer": client("viewer", "v-wall", room=HOME),
}


def grid(text: str) -> dict[str, dict[str, str]]:
    """leaf -> column -> cell"""
    head, *rows = [line.split() for line in text.strip().splitlines()]
    return {row[0]: dict(zip(head, row[1:], strict=True)) for row in rows}


def topic(leaf: str, sub: str, tenant: str = "lincoln", room: str = HOME) -> str:
    """A topic name or filter."""
    rest = leaf.replace("*", sub)
    in_tenant = leaf.startswith(("presence", "device"))
    return f"tenant/{tenant}/{rest}" if in_tenant else f"tenant/{tenant}/music_room/{room}/{rest}"


def check(do: str, name: str, allow: bool, rule: str, qos: int = 0, retain: bool = False) -> dict[str, Any]:
    """One check as the vectors write it."""
    return {"do": do, "topic": name, "qos": qos, "retain": retain, "allow": allow, "rule": rule}


def grid_case(role: str) -> dict[str, Any]:
    """Every topic, for one role, in every place, the right way and every wrong way."""
    me = CLIENTS[role]
    own, service = me["sub"], role in ("rooms", "tempo")
    sends, reads = grid(PUBLISH_GRID), grid(READ_GRID)
    checks: list[dict[str, Any]] = []
    # (tenant, room, whether this role is there)
    places = [
        ("lincoln", HOME, True),
        ("lincoln", OTHER, service or role == "teacher"),
        ("lincoln", SHUT, service),
        ("lincoln", "NONE-0000", service),
        ("lincoln-2", HOME, service),
        ("jefferson", HOME, service),
    ]
    for leaf, row in sends.items():
        qos, retain = int(row["qos"]), row["retain"] == "yes"
        may_send, may_read = row[role], reads[leaf][role]
        in_tenant = leaf.startswith(("presence", "device"))
        for tenant, room, here in places:
            if in_tenant and (room != HOME):
                continue
            place_rule = RULE[role] if here else ("ACL-11" if tenant == "lincoln" else "ACL-10")
            subjects = [own, "s-other"] if "*" in leaf else [""]
            for sub in subjects:
                if service and sub == own:
                    continue  # the service's names are no subjects
                name = topic(leaf, sub, tenant, room)
                mine = sub == own or "*" not in leaf
                rule = place_rule if mine or not here else "ACL-15"
                send = here and (may_send == "a" or (may_send == "o" and mine))
                read = here and (may_read == "a" or (may_read == "o" and mine))
                checks.append(check("publish", name, send, rule, qos, retain))
                checks.append(check("subscribe", name, read, rule))
                checks.append(check("deliver", name, read, rule))
                if tenant == "lincoln" and room == HOME:
                    for other_qos, other_retain in [
                        (0, False),
                        (0, True),
                        (1, False),
                        (1, True),
                        (2, False),
                        (2, True),
                    ]:
                        if (other_qos, other_retain) != (qos, retain):
                            checks.append(check("publish", name, False, "ACL-8", other_qos, other_retain))
            if "*" in leaf:
                checks.append(check("subscribe", topic(leaf, "+", tenant, room), here and may_read == "a", "ACL-12"))
        every_room = may_read != "-" and (service or role == "teacher")
        if not in_tenant:
            for sub, extra in [(own, may_read in "ao"), ("+", may_read == "a")] if "*" in leaf else [("", True)]:
                if service and sub == own:
                    continue
                name = topic(leaf, sub, room="+")
                checks.append(check("subscribe", name, every_room and extra, "ACL-12"))
                checks.append(
                    check("subscribe", topic(leaf, sub, "+", "+"), service and every_room and role == "tempo", "ACL-12")
                    if role != "rooms"
                    else check("subscribe", topic(leaf, sub, "+", "+"), True, "ACL-2")
                )
        elif "*" in leaf:
            checks += [check("subscribe", topic(leaf, sub, "+"), role == "rooms", "ACL-12") for sub in ("+", own)]
    return {"name": f"the table: {role}", "log": LOG, "client": me, "checks": checks}


def lines(text: str) -> list[dict[str, Any]]:
    """Checks from lines `yes|no  do[/qos[r]]  topic  rule`."""
    found: list[dict[str, Any]] = []
    for line in text.strip().splitlines():
        if not line.strip():
            continue
        answer, do, name, rule = line.split()
        do, _, how = do.partition("/")
        found.append(check(do, name, answer == "yes", rule, int(how[:1] or 0), how.endswith("r")))
    return found


def case(name: str, who: dict[str, Any], text: str, log: list[str] | None = None) -> dict[str, Any]:
    """A case written by hand."""
    return {"name": name, "log": LOG if log is None else log, "client": who, "checks": lines(text)}


M = "tenant/lincoln/music_room/MUSIC-1234"
NO_PATTERN = f"""
no subscribe #                                            ACL-12
no subscribe +                                            ACL-12
no subscribe +/#                                          ACL-12
no subscribe tenant                                       ACL-12
no subscribe tenant/#                                     ACL-12
no subscribe tenant/+                                     ACL-12
no subscribe /#                                           ACL-12
no subscribe /                                            ACL-12
no subscribe tenant/+/music_room/#                        ACL-12
no subscribe tenant/+/music_room/MUSIC-1234/beat          ACL-10
no subscribe tenant/+/music_room/+/beat                   ACL-10
no subscribe tenant/+/presence/+                          ACL-10
no subscribe tenant/lincoln/#                             ACL-12
no subscribe tenant/lincoln/+                             ACL-12
no subscribe tenant/lincoln/+/MUSIC-1234/beat             ACL-12
no subscribe tenant/lincoln/music_room/#                  ACL-12
no subscribe tenant/lincoln/music_room/MUSIC-1234         ACL-12
no subscribe {M}/#                                        ACL-12
no subscribe {M}/+                                        ACL-12
no subscribe {M}/+/+                                      ACL-12
no subscribe {M}/+/s-7f3k2                                ACL-12
no subscribe {M}/note                                     ACL-12
no subscribe {M}/note/#                                   ACL-12
no subscribe {M}/note/+/#                                 ACL-12
no subscribe {M}/beat/#                                   ACL-12
no subscribe {M}/beat/                                    ACL-12
no subscribe {M}/clock/+/r                                ACL-12
no subscribe {M}/clock/+/+                                ACL-12
no subscribe {M}/clock/#                                  ACL-12
no subscribe {M}/control/+                                ACL-12
no subscribe {M}/control/+/reply                          ACL-12
no subscribe {M}/control/#                                ACL-12
no subscribe tenant/lincoln/presence/#                    ACL-12
no subscribe tenant/lincoln/device/+/room                 ACL-12
no subscribe tenant/lincoln/device/#                      ACL-12
no subscribe tenant/jefferson/#                           ACL-10
no subscribe /tenant/lincoln/#                            ACL-12
no subscribe /tenant/jefferson/#                          ACL-12
no subscribe /{M}/beat                                    ACL-12
no subscribe tenant//music_room/MUSIC-1234/beat           ACL-12
no subscribe tenant/lincoln//MUSIC-1234/beat              ACL-12
no subscribe tenant/lincoln/music_room//beat              ACL-12
no subscribe {M}//beat                                    ACL-12
no subscribe {M}/note/                                    ACL-12
no subscribe {M}/note/s-                                  ACL-12
no subscribe {M}/note/S-7F3K2                             ACL-12
no subscribe {M}/note/s-7f3k2/                            ACL-12
no subscribe {M}/clock//r                                 ACL-12
no subscribe tenant/lincoln/music_room/music-1234/beat    ACL-12
no subscribe tenant/Lincoln/music_room/MUSIC-1234/beat    ACL-12
no subscribe Tenant/lincoln/music_room/MUSIC-1234/beat    ACL-12
no subscribe tenant/lincoln/Music_Room/MUSIC-1234/beat    ACL-12
no subscribe {M}/Beat                                     ACL-12
no subscribe {M}/beats                                    ACL-12
no subscribe {M}/bea                                      ACL-12
no subscribe tenant/lincoln/music_room/MUSIC-12345/beat   ACL-12
no subscribe tenant/lincoln/music_room/MUSIC-123/beat     ACL-12
no subscribe tenant/lincoln-2/music_room/MUSIC-1234/beat  ACL-10
no subscribe tenant/lincol/music_room/MUSIC-1234/beat     ACL-10
no subscribe tenant/l/music_room/MUSIC-1234/beat          ACL-10
no subscribe tenant/../lincoln/music_room/MUSIC-1234/beat ACL-12
no subscribe {M}/../MUSIC-1234/beat                       ACL-12
no subscribe $SYS/#                                       ACL-13
no subscribe $SYS/broker/clients/connected                ACL-13
no subscribe $CONTROL/#                                   ACL-13
no subscribe $CONTROL/dynamic-security/v1                 ACL-13
no subscribe $share                                       ACL-13
no subscribe $share/                                      ACL-13
no subscribe $share/g                                     ACL-13
no subscribe $share/g/                                    ACL-13
no subscribe $share/g/#                                   ACL-13
no subscribe $share/g/{M}/beat                            ACL-13
no subscribe $share/g/tenant/jefferson/#                  ACL-13
no subscribe $share//{M}/beat                             ACL-13
no subscribe $SHARE/g/{M}/beat                            ACL-13
no subscribe $tenant/lincoln                              ACL-13
no publish   $SYS/broker/uptime                           ACL-13
no publish   $CONTROL/dynamic-security/v1                 ACL-13
no publish/1 $CONTROL/                                    ACL-13
no publish   tenant                                       ACL-1
no publish   tenant/                                      ACL-1
no publish   tenant/lincoln                               ACL-1
no publish   tenant/lincoln/music_room/MUSIC-1234         ACL-1
no publish   /{M}/beat                                    ACL-1
no publish   {M}/                                         ACL-1
no publish   {M}//note/s-7f3k2                            ACL-1
no publish   {M}/note                                     ACL-1
no publish   {M}/note/                                    ACL-1
no publish   {M}/Note/s-7f3k2                             ACL-1
no publish   {M}/note/s-7f3k2/                            ACL-1
no publish   {M}/note/s-7f3k2/beat                        ACL-1
no publish   {M}/note/beat                                ACL-1
no publish   {M}/clock/q                                  ACL-1
no publish   {M}/anything                                 ACL-1
no publish   elsewhere/lincoln                            ACL-1
no deliver   $SYS/broker/uptime                           ACL-13
no deliver   tenant/lincoln                               ACL-1
no deliver   {M}/anything                                 ACL-1
no deliver   {M}/note                                     ACL-1
no deliver   /{M}/beat                                    ACL-1
no deliver   tenant/lincoln-2/music_room/MUSIC-1234/beat  ACL-10
no deliver   elsewhere                                    ACL-1
"""


def hand_cases() -> list[dict[str, Any]]:
    """What a table cannot say: shapes of topics, time, and mixed identities."""
    teacher, student, device, viewer = (CLIENTS[role] for role in ("teacher", "student", "device", "viewer"))
    rooms, tempo = CLIENTS["rooms"], CLIENTS["tempo"]
    cases = [
        case(f"shapes that nobody but the service gets: {who['role']}", who, NO_PATTERN)
        for who in (teacher, student, device, viewer)
    ]
    cases += [
        case(
            "the service subscribes to anything under tenant/, and to nothing else",
            rooms,
            f"""
yes subscribe tenant/#                              ACL-2
yes subscribe tenant/+/presence/+                   ACL-2
yes subscribe tenant/+/music_room/+/control/+       ACL-2
yes subscribe tenant/lincoln/#                      ACL-2
yes subscribe {M}/#                                 ACL-2
no  subscribe #                                     ACL-2
no  subscribe +/#                                   ACL-2
no  subscribe +/lincoln/presence/+                  ACL-2
no  subscribe /tenant/#                             ACL-2
no  subscribe tenants/#                             ACL-2
no  subscribe $SYS/#                                ACL-13
no  subscribe $CONTROL/#                            ACL-13
no  subscribe $share/g/tenant/#                     ACL-13
yes deliver   {M}/control/t-ada                     ACL-2
yes deliver   tenant/lincoln/presence/s-7f3k2       ACL-2
no  deliver   $SYS/broker/uptime                    ACL-2
no  deliver   elsewhere                             ACL-2
no  publish   {M}/beat                              ACL-2
no  publish/1r {M}/beat                             ACL-2
no  publish   $CONTROL/dynamic-security/v1          ACL-13
no  publish   $SYS/broker/uptime                    ACL-13
no  publish   elsewhere                             ACL-1
no  publish/1r {M}/other                            ACL-1
no  publish/1r tenant/lincoln/music_room/music/room ACL-1
no  publish/1r tenant/lincoln/presence/+            ACL-1
no  publish/0r {M}/note/s-7f3k2                     ACL-8
no  publish/1 {M}/tempo                             ACL-8
""",
        ),
        case(
            "a tempo worker says beats and hears tempo maps, nothing more",
            tempo,
            f"""
yes subscribe tenant/+/music_room/+/tempo               ACL-3
yes subscribe tenant/lincoln/music_room/+/tempo         ACL-3
yes subscribe tenant/+/music_room/MUSIC-1234/tempo      ACL-3
no  subscribe tenant/+/music_room/+/room                ACL-3
no  subscribe tenant/+/music_room/+/+                   ACL-12
no  subscribe tenant/+/music_room/#                     ACL-12
no  subscribe tenant/#                                  ACL-12
no  subscribe #                                         ACL-12
no  subscribe tenant/+/presence/+                       ACL-3
no  subscribe $share/g/tenant/+/music_room/+/tempo      ACL-13
yes publish   tenant/jefferson/music_room/MUSIC-1234/beat ACL-3
no  publish/0r {M}/beat                                 ACL-8
no  publish/1 {M}/beat                                  ACL-8
no  publish   {M}/beat/                                 ACL-1
no  publish   {M}/beat/s-7f3k2                          ACL-1
no  publish   {M}/note/beat                             ACL-1
no  publish   tenant/lincoln/beat                       ACL-1
no  publish   beat                                      ACL-1
no  publish   tenant/lincoln/music_room/MUSIC-12/beat   ACL-1
no  publish   tenant/LINCOLN/music_room/MUSIC-1234/beat ACL-1
no  publish/1r tenant/bandroom/presence/tempo-0         ACL-1
no  deliver   {M}/beat                                  ACL-3
yes deliver   {M}/tempo                                 ACL-3
""",
        ),
        case(
            "a teacher names leaves and may say + for room or member",
            teacher,
            f"""
yes subscribe tenant/lincoln/music_room/+/beat              ACL-4
yes subscribe tenant/lincoln/music_room/+/note/+            ACL-4
yes subscribe tenant/lincoln/music_room/+/note/s-7f3k2      ACL-4
yes subscribe tenant/lincoln/music_room/+/feedback/+        ACL-4
yes subscribe tenant/lincoln/music_room/+/control/t-ada/reply ACL-4
yes subscribe tenant/lincoln/music_room/+/clock/t-ada/r     ACL-4
yes subscribe tenant/lincoln/presence/+                     ACL-4
yes subscribe tenant/lincoln/presence/s-7f3k2               ACL-4
no  subscribe tenant/lincoln/music_room/+/+                 ACL-12
no  subscribe tenant/lincoln/music_room/+/+/+               ACL-12
no  subscribe tenant/lincoln/music_room/+/control/t-other/reply ACL-15
no  subscribe tenant/lincoln/music_room/+/clock/s-7f3k2/r   ACL-15
no  subscribe tenant/+/music_room/+/beat                    ACL-10
no  subscribe tenant/jefferson/presence/+                   ACL-10
no  subscribe tenant/jefferson/music_room/+/beat            ACL-10
no  deliver   tenant/lincoln/music_room/SHUT-9999/beat      ACL-11
no  deliver   tenant/jefferson/presence/s-7f3k2             ACL-10
no  publish/1 tenant/lincoln/music_room/SHUT-9999/control/t-ada ACL-11
no  publish/1 {M}/control/t-ad                              ACL-15
no  publish/1 {M}/control/t-ada2                            ACL-15
no  publish/1 {M}/control/t-ada/reply                       ACL-4
""",
        ),
        case(
            "own means the whole subject, no prefix or twin of it",
            student,
            f"""
yes publish   {M}/note/s-7f3k2                   ACL-5
no  publish   {M}/note/s-7f3k                    ACL-15
no  publish   {M}/note/s-7f3k22                  ACL-15
no  publish   {M}/note/s-7f3k2-2                 ACL-15
no  publish   {M}/note/t-7f3k2                   ACL-15
no  publish   {M}/note/d-7f3k2                   ACL-15
no  publish   {M}/clock/s-7f3k/q                 ACL-15
no  publish/1r tenant/lincoln/presence/s-7f3k    ACL-15
no  publish/1r tenant/lincoln/presence/s-7f3k22  ACL-15
no  subscribe {M}/clock/s-7f3k/r                 ACL-15
no  subscribe {M}/clock/s-7f3k22/r               ACL-15
no  deliver   {M}/clock/s-7f3k22/r               ACL-15
no  deliver   {M}/feedback/s-7f3k                ACL-15
no  deliver   tenant/lincoln/music_room/MUSIC-1235/beat ACL-11
no  publish   tenant/lincoln/music_room/USIC-1234/note/s-7f3k2 ACL-11
""",
        ),
        case(
            "a pupil of one room is nobody in another room of the school",
            student,
            """
no  subscribe tenant/lincoln/music_room/DRUM-0001/beat          ACL-11
no  subscribe tenant/lincoln/music_room/+/beat                  ACL-11
no  subscribe tenant/lincoln/music_room/+/clock/s-7f3k2/r       ACL-11
no  publish   tenant/lincoln/music_room/DRUM-0001/note/s-7f3k2  ACL-11
no  deliver   tenant/lincoln/music_room/DRUM-0001/beat          ACL-11
""",
        ),
    ]
    both = f"{{}} publish {M}/note/{{}} ACL-9\n{{}} publish {M}/midi/{{}} ACL-9\n"
    rest = f"""
yes publish   {M}/clock/{{0}}/q            ACL-9
yes publish/1r tenant/lincoln/presence/{{0}} ACL-9
yes subscribe {M}/note/+                   ACL-9
yes deliver   {M}/note/s-other             ACL-9
yes deliver   {M}/beat                     ACL-9
"""
    for who in (teacher, student, device):
        sub = who["sub"]
        muted, free = both.format("no", sub, "no", sub), both.format("yes", sub, "yes", sub)
        control = f"yes publish/1 {M}/control/{sub} ACL-9" if who is teacher else ""
        one, every = f"mute lincoln {HOME} {sub}", f"muteall lincoln {HOME}"
        un_one, un_every = f"unmute lincoln {HOME} {sub}", f"unmuteall lincoln {HOME}"
        still = rest.format(sub) + control
        role = who["role"]
        # The teacher who mutes the class may still show how it goes.
        quiet = free if who is teacher else muted
        cases += [
            case(f"a muted {role} may not play, and loses nothing else", who, muted + still, [*LOG, one]),
            case(f"mute all silences a class, not its teacher: {role}", who, quiet + still, [*LOG, every]),
            case(f"unmuted, a {role} plays again", who, free + still, [*LOG, one, un_one]),
            case(f"unmute all ends mute all for a {role}", who, free + still, [*LOG, every, un_every]),
            case(f"unmute all leaves the single mute of a {role}", who, muted, [*LOG, one, every, un_every]),
            case(f"unmuting one leaves mute all for a {role}", who, quiet, [*LOG, one, every, un_one]),
            case(
                f"mutes of a {role} do not outlive the room's closing",
                who,
                free,
                [*LOG, one, every, f"close lincoln {HOME}", f"open lincoln {HOME}"],
            ),
            case(
                f"a mute in another room is not for this {role}",
                who,
                free,
                [*LOG, f"mute lincoln {OTHER} {sub}", f"muteall lincoln {OTHER}"],
            ),
            case(
                f"another school's mute is not for this {role}",
                who,
                free,
                [*LOG, f"mute lincoln-2 {HOME} {sub}", f"muteall jefferson {HOME}"],
            ),
            case(
                f"a mute of somebody else is not for this {role}",
                who,
                free,
                [*LOG, f"mute lincoln {HOME} {sub}2", f"mute lincoln {HOME} {sub[:-1]}"],
            ),
        ]
    everything = f"""
{{0}} publish    {M}/note/{{1}}               ACL-11
{{0}} publish    {M}/clock/{{1}}/q            ACL-11
{{0}} subscribe  {M}/beat                     ACL-11
{{0}} subscribe  {M}/note/+                   ACL-11
{{0}} subscribe  {M}/clock/{{1}}/r            ACL-11
{{0}} deliver    {M}/beat                     ACL-11
{{0}} deliver    {M}/tempo                    ACL-11
{{0}} deliver    {M}/note/s-other             ACL-11
yes publish/1r   tenant/lincoln/presence/{{1}} ACL-11
"""
    for who in (teacher, student, device):
        role, text = who["role"], everything
        closed, opened = text.format("no", who["sub"]), text.format("yes", who["sub"])
        assigned = f"assign lincoln d-drum-3 {HOME}"
        cases += [
            case(f"an empty log grants a {role} no room", who, closed, [assigned]),
            case(f"a closed room grants a {role} nothing", who, closed, [*LOG, f"close lincoln {HOME}"]),
            case(
                f"a room opened again serves a {role} again",
                who,
                opened,
                [*LOG, f"close lincoln {HOME}", f"open lincoln {HOME}"],
            ),
            case(
                f"the same code in another school opens nothing for a {role}",
                who,
                closed,
                [assigned, f"open jefferson {HOME}", f"open lincoln-2 {HOME}"],
            ),
            case(
                f"closing the same code in another school closes nothing for a {role}",
                who,
                opened,
                [*LOG, f"close jefferson {HOME}", f"close lincoln-2 {HOME}"],
            ),
        ]
    device_here = everything.format("yes", "d-drum-3")
    device_gone = everything.format("no", "d-drum-3")
    own_room = (
        "yes subscribe tenant/lincoln/device/d-drum-3/room ACL-6\nyes deliver tenant/lincoln/device/d-drum-3/room ACL-6"
    )
    there = device_here.replace(HOME, OTHER)
    base = [entry for entry in LOG if not entry.startswith("assign")]
    cases += [
        case(
            "a device that is assigned nowhere has its presence and its assignment",
            device,
            device_gone + own_room,
            base,
        ),
        case(
            "an assigned device plays there", device, device_here + own_room, [*base, f"assign lincoln d-drum-3 {HOME}"]
        ),
        case(
            "an assignment moves",
            device,
            device_gone.replace("ACL-11", "ACL-6") + there + own_room,
            [*LOG, f"assign lincoln d-drum-3 {OTHER}"],
        ),
        case("an assignment ends", device, device_gone + own_room, [*LOG, "assign lincoln d-drum-3 -"]),
        case(
            "the assignment of a twin in another school is not mine",
            device,
            device_gone + own_room,
            [*base, f"assign lincoln-2 d-drum-3 {HOME}", f"assign jefferson d-drum-3 {HOME}"],
        ),
        case(
            "the assignment of a device with a longer name is not mine",
            device,
            device_gone + own_room,
            [*base, f"assign lincoln d-drum-33 {HOME}", f"assign lincoln d-drum- {HOME}"],
        ),
        case(
            "a device does not read another's assignment",
            device,
            """
no subscribe tenant/lincoln/device/d-drum-33/room   ACL-15
no subscribe tenant/lincoln/device/+/room           ACL-12
no subscribe tenant/jefferson/device/d-drum-3/room  ACL-10
no publish/1r tenant/lincoln/device/d-drum-3/room   ACL-6
""",
        ),
        case(
            "a room in a device's identity means nothing",
            client("device", "d-other", room=HOME),
            f"""
no subscribe {M}/beat         ACL-6
no publish {M}/note/d-other   ACL-6
""",
        ),
        case(
            "a viewer never plays",
            viewer,
            f"""
no publish {M}/note/v-wall       ACL-7
no publish {M}/midi/v-wall       ACL-7
no publish/1 {M}/control/v-wall  ACL-7
yes publish {M}/clock/v-wall/q   ACL-7
yes subscribe {M}/note/+         ACL-7
""",
        ),
    ]
    longest = client("student", "s-" + "a" * 18, "t" * 20, "ABCDEFGH-0000")
    far = f"tenant/{'t' * 20}/music_room/ABCDEFGH-0000"
    cases.append(
        case(
            "the longest legal names",
            longest,
            f"""
yes publish   {far}/note/s-{"a" * 18}         ACL-5
yes subscribe {far}/clock/s-{"a" * 18}/r      ACL-5
no  publish   {far}/note/s-{"a" * 17}         ACL-15
no  publish   {far}/note/s-{"a" * 19}         ACL-1
no  subscribe tenant/{"t" * 19}/music_room/ABCDEFGH-0000/beat ACL-10
no  subscribe tenant/{"t" * 21}/music_room/ABCDEFGH-0000/beat ACL-12
""",
            [f"open {'t' * 20} ABCDEFGH-0000"],
        )
    )
    huge = [
        check("publish", f"{M}/note/s-7f3k2" + "/a" * 2000, False, "ACL-1"),
        check("publish", "tenant/" * 500, False, "ACL-1"),
        check("publish", "/" * 65535, False, "ACL-1"),
        check("subscribe", "+/" * 2000, False, "ACL-12"),
        check("subscribe", f"{M}/note/s-" + "a" * 4000, False, "ACL-12"),
        check("subscribe", "tenant/" + "l" * 4000 + "/music_room/MUSIC-1234/beat", False, "ACL-12"),
        check("deliver", f"{M}/beat" + "/" * 4000, False, "ACL-1"),
        check("publish", f"{M}/note/s-7f3к2", False, "ACL-1"),  # a Cyrillic letter
        check("publish", f"tenant/linсoln/music_room/{HOME}/note/s-7f3k2", False, "ACL-1"),  # another one
        check("subscribe", f"tenant/ｌincoln/music_room/{HOME}/beat", False, "ACL-12"),  # full width
        check("subscribe", f"{M}/beat\u200b", False, "ACL-12"),  # zero width
        check("subscribe", "tenant/lincoln/music_room/MUSIC-١٢٣٤/beat", False, "ACL-12"),  # Arabic digits
        check("publish", f"{M}/note/s-7f3k2 ", False, "ACL-1"),
        check("publish", f" {M}/note/s-7f3k2", False, "ACL-1"),
    ]
    cases.append({"name": "huge names and look-alike letters", "log": LOG, "client": student, "checks": huge})
    for who in CLIENTS.values():
        sent = {
            "teacher": "publish/1r tenant/lincoln/presence/t-ada",
            "rooms": f"publish/1r {M}/tempo",
            "tempo": f"publish {M}/beat",
            "student": f"publish {M}/note/s-7f3k2",
            "device": f"publish {M}/note/d-drum-3",
            "viewer": f"publish {M}/clock/v-wall/q",
        }[who["role"]]
        cases.append(
            case(
                f"a second connection has the same rights: {who['role']}",
                who | {"client_id": who["client_id"] + "_7"},
                f"yes {sent} {RULE[who['role']]}",
            )
        )
    return cases


def document() -> dict[str, Any]:
    """The whole file."""
    return {"cases": [grid_case(role) for role in CLIENTS] + hand_cases()}


def text() -> str:
    """The file's text: one check a line, so that a change shows as the lines it changes."""
    out = ['{"cases": [']
    cases = document()["cases"]
    for number, one in enumerate(cases):
        head = {key: one[key] for key in ("name", "log", "client")}
        out.append(json.dumps(head, ensure_ascii=True)[:-1] + ', "checks": [')
        out.append(",\n".join(json.dumps(each, ensure_ascii=True) for each in one["checks"]))
        out.append("]}" + ("," if number < len(cases) - 1 else ""))
    return "\n".join([*out, "]}"]) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        if FILE.read_text() != text():
            sys.exit(f"{FILE.name} is not what {Path(__file__).name} writes: run it without --check")
    else:
        FILE.write_text(text())
