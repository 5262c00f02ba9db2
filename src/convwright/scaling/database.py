"""Databases that hold studies: their URLs, and access that waits while a database is unavailable."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, MetaData, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from convwright.errors import ArgumentError, ConvwrightError, WriteError
from convwright.scaling.study_options import DATABASE_FILES

PATIENCE = 60.0
"""Seconds for which a database that has answered before may be unavailable."""
RETRY_SECONDS = 1.0
ATTEMPTS = 4
"""Attempts to create the tables, where workers that start together all create them."""

_UNWRITABLE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_READONLY}

T = TypeVar("T")


class Database:
    """A database with the tables of studies.

    Args:
        url: Its URL, as `check_url` returns it.
        tables: Tables to create where they do not exist.

    Raises:
        ConvwrightError: The database does not answer.
    """

    def __init__(self, url: str, tables: MetaData) -> None:
        self.url = url
        self.engine = _engine(url)
        for left in reversed(range(ATTEMPTS)):
            try:
                tables.create_all(self.engine)
                return
            except SQLAlchemyError as error:
                # Another worker may be creating the tables at this moment.
                if not left or not (isinstance(error, IntegrityError) or "already exists" in str(error)):
                    raise self.unreachable(error) from None
                time.sleep(RETRY_SECONDS)

    def run(self, action: Callable[[Connection], T]) -> T:
        """Run an action in a transaction, and again while the database is unavailable.

        The action must be safe to repeat: a connection can be lost after the transaction was committed.

        Raises:
            IntegrityError: The action violates a constraint of a table.
            ConvwrightError: The database was unavailable for `PATIENCE` seconds, or its file cannot be written.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.once(action)
            except IntegrityError:
                raise
            except SQLAlchemyError as error:
                if time.monotonic() > end or _is_unwritable(error):
                    advice = "results so far are kept; the same command or call resumes the study"
                    raise self.unreachable(error, advice) from None
                time.sleep(RETRY_SECONDS)

    def once(self, action: Callable[[Connection], T]) -> T:
        """Run an action in a transaction.

        Raises:
            SQLAlchemyError: The database is unavailable.
        """
        with self.engine.begin() as connection:
            return action(connection)

    def unreachable(self, error: Exception, advice: str = "") -> ConvwrightError:
        """Return the error of a database that does not answer, in one line and without its password.

        For a file that cannot be written, as on a full disk, the error is that of any other file.
        """
        reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        first = next((line.strip() for line in reason.splitlines() if line.strip()), type(error).__name__)
        advice = advice and f"; {advice}"
        if _is_unwritable(error):
            return WriteError(f"{self.engine.url.database} could not be written: {first}{advice}")
        return ConvwrightError(f"the study's database {hide_password(self.url)} does not answer: {first}{advice}")


def sqlite_in(folder: Path) -> str:
    """Return the URL of the database that a study has in its own folder."""
    path = str(folder.absolute() / DATABASE_FILES[0])
    return URL.create("sqlite", database=path).render_as_string(hide_password=False)


def hide_password(url: str) -> str:
    """Return a URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (SQLAlchemyError, ValueError):
        return "URL"


def check_url(url: str) -> str:
    """Return the URL of a database with an installed driver.

    Raises:
        ArgumentError: The text is no URL of a database, names no file, or the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):  # a port that is no number; the text may hold a password
        raise ArgumentError(
            "storage", "must be the URL of a database: postgresql://user@host:5432/database or sqlite:///file.db"
        ) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ArgumentError("storage", "sqlite:// names no file and would keep nothing; write sqlite:///file.db")
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        parsed.get_dialect().import_dbapi()
    except (SQLAlchemyError, ImportError, AttributeError):
        raise ArgumentError(
            "storage",
            f"no driver for {parsed.drivername} is installed; for PostgreSQL: pip install 'convwright[cluster]'",
        ) from None
    return parsed.render_as_string(hide_password=False)


def _engine(url: str) -> Engine:
    connect: dict[str, Any] = {}
    if url.startswith("sqlite"):
        connect = {"timeout": PATIENCE}
    elif url.startswith("postgresql"):
        connect = {"connect_timeout": 10}
    return create_engine(url, pool_pre_ping=True, connect_args=connect)


def _is_unwritable(error: Exception) -> bool:
    """Whether a database's file cannot be written, for which there is no point in waiting."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", None) in _UNWRITABLE
