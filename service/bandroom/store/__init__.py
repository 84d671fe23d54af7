"""The record of tenants, rooms, members and devices: SQLite rows, reached through ``Store.for_tenant``."""

from bandroom.store.database import Store
from bandroom.store.errors import Conflict, InUse, NewerDatabase, StoreError, Unavailable
from bandroom.store.rows import DeviceRow, MemberRow, Revocation, RoomRow, RoomState, TeacherRow, TempoRow, TenantRow
from bandroom.store.tenant import TenantStore

__all__ = [
    "Conflict",
    "DeviceRow",
    "InUse",
    "MemberRow",
    "NewerDatabase",
    "Revocation",
    "RoomRow",
    "RoomState",
    "Store",
    "StoreError",
    "TeacherRow",
    "TempoRow",
    "TenantRow",
    "TenantStore",
    "Unavailable",
]
