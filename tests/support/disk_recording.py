"""Runs the engine on a file and records, in one order, all that SQLite does to the files and
each command that is acknowledged.

    python -c 'from disk_recording import record; record(PATH, LIFE)'

Under SQLite lies a VFS of ours: a copy of the default one, whose files' methods for writing
note what they are asked and pass it on.  All others, locks and shared memory among them,
are the default's own.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import pickle
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from itertools import cycle
from typing import Any, NoReturn

from load_claims import Hasty, set_up, work
from lossy_disk import Answer, Delete, Event, Sync, SyncDirectory, Truncate, Write

from billing_core import Billing

TIMES = 12  # commands of each worker

OK = 0
RECORDED = 0x100 | 0x800 | 0x80000  # SQLITE_OPEN_MAIN_DB, _MAIN_JOURNAL, _WAL

Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
Unlink = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
Put = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
Cut = CFUNCTYPE(c_int, c_void_p, c_int64)
Flush = CFUNCTYPE(c_int, c_void_p, c_int)
OpenDirectory = CFUNCTYPE(c_int, c_void_p, c_void_p)
Find = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
Replace = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)


def staff(life: str) -> list[list[str]]:
    """The workers of a recording, which is of this life of the file: half of them first."""
    return [[f"{life}{half}{thread}" for thread in range(5)] for half in "ab"]


class Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        *(("iVersion", c_int), ("szOsFile", c_int), ("mxPathname", c_int)),
        *(("pNext", c_void_p), ("zName", c_char_p), ("pAppData", c_void_p)),
        *((f"x{name}", c_void_p) for name in ("Open", "Delete", "Access", "FullPathname")),
        *((f"xDl{name}", c_void_p) for name in ("Open", "Error", "Sym", "Close")),
        *((f"x{name}", c_void_p) for name in ("Randomness", "Sleep", "CurrentTime")),
        *((f"x{name}", c_void_p) for name in ("GetLastError", "CurrentTimeInt64")),
        *((f"x{name}SystemCall", c_void_p) for name in ("Set", "Get", "Next")),
    ]


class Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = [
        ("iVersion", c_int),
        *((f"x{name}", c_void_p) for name in ("Close", "Read", "Write", "Truncate", "Sync")),
        *((f"x{name}", c_void_p) for name in ("FileSize", "Lock", "Unlock")),
        *((f"x{name}", c_void_p) for name in ("CheckReservedLock", "FileControl")),
        *((f"x{name}", c_void_p) for name in ("SectorSize", "DeviceCharacteristics")),
        *((f"xShm{name}", c_void_p) for name in ("Map", "Lock", "Barrier", "Unmap")),
        *((f"x{name}", c_void_p) for name in ("Fetch", "Unfetch")),
    ]


def library() -> tuple[Any, Any]:
    """sqlite3_vfs_find and sqlite3_vfs_register of the library that Python's sqlite3 uses."""
    # The module is part of the interpreter in some builds; then so is the library.
    loaded = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    try:
        find, register = loaded.sqlite3_vfs_find, loaded.sqlite3_vfs_register
    except AttributeError as error:
        raise RuntimeError(
            f"{error}: this Python's SQLite is linked so that no VFS can be put under it; "
            "run the tests with a Python whose sqlite3 module is linked to a shared SQLite"
        ) from error
    find.argtypes, find.restype = [c_char_p], POINTER(Vfs)
    register.argtypes, register.restype = [POINTER(Vfs), c_int], c_int
    return find, register


class Recorder:
    """From when it is made on, all files of SQLite's in this process are recorded."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        # An event and its place in the order are one: no write is noted on the wrong side of
        # a sync.
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}
        self._methods: dict[int, Methods] = {}
        self._callbacks: list[object] = []  # which C calls, and Python must not free
        find, register = library()
        self._vfs = self._recording_vfs(find(None).contents)
        assert register(self._vfs, 1) == OK

    def note(self, event: Event, really: Callable[..., int] = lambda: OK, *arguments: Any) -> int:
        with self._lock:
            place = len(self.events)
            self.events.append(event)
            result = really(*arguments)
            if result != OK:
                del self.events[place]
            return result

    def _recording_vfs(self, real: Vfs) -> Vfs:
        assert real.iVersion == 3
        really_open, really_delete = Open(real.xOpen), Unlink(real.xDelete)

        def open_(vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
            result: int = really_open(vfs, name, file, flags, out)
            if result == OK and name is not None and flags & RECORDED:
                self._names[file] = base(name)
                methods = c_void_p.from_address(file)  # a sqlite3_file's first member
                methods.value = self._recording_methods(methods.value)
            return result

        def delete(vfs: int, name: int, sync: int) -> int:
            return self.note(Delete(base(name)), really_delete, vfs, name, sync)

        ours = Vfs.from_buffer_copy(real)
        ours.zName = b"recorder"
        ours.xOpen = self._callback(Open(open_))
        ours.xDelete = self._callback(Unlink(delete))
        self._record_directories(ours)
        return ours

    def _record_directories(self, vfs: Vfs) -> None:
        """SQLite opens a directory to sync it, within a file's sync or deletion, and for
        nothing else."""
        address = Find(vfs.xGetSystemCall)(ctypes.byref(vfs), b"openDirectory")
        assert address, "this SQLite does not say when it syncs a directory"
        really = OpenDirectory(address)

        def open_directory(path: int, descriptor: int) -> int:
            self.events.append(SyncDirectory())
            result: int = really(path, descriptor)
            return result

        replace = self._callback(OpenDirectory(open_directory))
        assert Replace(vfs.xSetSystemCall)(ctypes.byref(vfs), b"openDirectory", replace) == OK

    def _recording_methods(self, address: int | None) -> int:
        assert address is not None
        if address not in self._methods:
            real = Methods.from_address(address)
            assert real.iVersion == 3
            really_write, really_truncate = Put(real.xWrite), Cut(real.xTruncate)
            really_sync = Flush(real.xSync)

            def write(file: int, data: int, size: int, offset: int) -> int:
                event = Write(self._names[file], offset, ctypes.string_at(data, size))
                return self.note(event, really_write, file, data, size, offset)

            def truncate(file: int, size: int) -> int:
                return self.note(Truncate(self._names[file], size), really_truncate, file, size)

            def sync(file: int, flags: int) -> int:
                return self.note(Sync(self._names[file]), really_sync, file, flags)

            ours = Methods.from_buffer_copy(real)
            ours.xWrite = self._callback(Put(write))
            ours.xTruncate = self._callback(Cut(truncate))
            ours.xSync = self._callback(Flush(sync))
            self._methods[address] = ours
        return ctypes.addressof(self._methods[address])

    def _callback(self, function: Any) -> int | None:
        self._callbacks.append(function)
        return ctypes.cast(function, c_void_p).value


def base(name: int) -> str:
    return os.path.basename(ctypes.string_at(name).decode())


class Recorded(Hasty):
    """``weaker``: with another setting of ``synchronous`` than the store's own."""

    def __init__(self, path: str, weaker: str | None) -> None:
        self._weaker = weaker
        super().__init__(path)

    def _connect(self) -> sqlite3.Connection:
        db = super()._connect()
        # A mapped file would be written behind the recorder's back.
        assert db.execute("PRAGMA mmap_size").fetchone() == (0,)
        return db

    def _open(self, db: sqlite3.Connection) -> None:
        super()._open(db)
        if self._weaker is not None:
            db.execute(f"PRAGMA synchronous = {self._weaker}")

    def checkpoint(self, mode: str) -> None:
        with closing(self._connect()) as db:
            db.execute(f"PRAGMA wal_checkpoint({mode})")


def serve(store: Recorded, workers: list[str], recorder: Recorder) -> None:
    """Let the workers do their commands at once, with checkpoints of each kind between."""
    modes = cycle(("PASSIVE", "FULL", "RESTART", "TRUNCATE"))

    def tell(worker: str, n: int, digest: str) -> None:
        recorder.note(Answer(worker, n, digest))
        if worker == workers[0] and n % 3 == 1:
            store.checkpoint(next(modes))

    # A clock of its own: the engine's would mark the time, and so write before anybody is told.
    billing = Billing(store, clock=lambda: time.time_ns() // 1000)
    set_up(billing, tell)
    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(lambda worker: work(billing, worker, range(TIMES), tell), workers))


def record(path: str, life: str, weaker: str | None = None) -> NoReturn:
    """Open the file, close it, open it again; write what happened, pickled, to the standard
    output, and leave the files as they are."""
    sys.unraisablehook = lambda failed: give_up(failed.exc_value)
    try:
        recorder = Recorder()
        first, second = staff(life)
        store = Recorded(path, weaker)
        serve(store, first, recorder)
        store.close()
        serve(store, second, recorder)
        pickle.dump(recorder.events, sys.stdout.buffer)
        sys.stdout.flush()
    except BaseException as error:
        give_up(error)
    os._exit(0)


def give_up(error: BaseException | None) -> NoReturn:
    """At once: what a callback raises SQLite would take for success, and an interpreter that
    ends in order frees the callbacks before SQLite has done with them."""
    traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(1)
