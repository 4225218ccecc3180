"""The connection to Ray, found or refused within seconds."""

import os
import queue
import secrets
import socket
import tempfile
import threading
from types import ModuleType
from urllib.parse import urlsplit

from softtargets.lab.errors import LabError

_ANSWERS_IN = 5.0  # seconds for a cluster's address to take a connection
_CONNECTS_IN = 10.0  # and for Ray to answer there; a cluster with a place does within 3


class RaySession:
    """A connection to a Ray: one that is there, one at an address, or one of our own.

    Args:
        address: `ray://HOST:PORT`, or None, see `softtargets.lab.execution.compute`.

    Raises:
        LabError: Ray is not installed, or does not answer at the address.
    """

    def __init__(self, address: str | None) -> None:
        # Read when Ray is imported; what a user has set stays.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # not to another Ray than asked for
        self.ray = _imported()
        self._files: tempfile.TemporaryDirectory[str] | None = None
        self._ours = not self.ray.is_initialized()
        address = address or os.environ.get("RAY_ADDRESS") or None
        if not self._ours:
            self.name = "the Ray that this process is connected to"
        elif address is None:
            self.name = "a Ray of this machine"
            self._start()
        else:
            self.name = address
            self._connect(address)

    @property
    def folder(self) -> str | None:
        """Where workers put their files; goes with a Ray of our own."""
        return None if self._files is None else self._files.name

    def _start(self) -> None:
        """Start Ray on this machine, with files and a password that are nobody else's."""
        own = "RAY_AUTH_MODE" not in os.environ and "RAY_AUTH_TOKEN" not in os.environ
        if own:
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        self._files = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        try:
            self.ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _temp_dir=self._files.name,
            )
        finally:
            if own:
                del os.environ["RAY_AUTH_TOKEN"]

    def _connect(self, address: str) -> None:
        """Connect, or say within seconds that there is nobody."""
        _check_address(address)
        failures: queue.Queue[Exception | None] = queue.Queue()

        def connect() -> None:
            try:
                self.ray.init(address=address, log_to_driver=False, logging_level="ERROR")
                failures.put(None)
            except Exception as error:
                failures.put(error)

        # Ray tries again for much longer than anybody waits.
        threading.Thread(target=connect, daemon=True).start()
        try:
            failure = failures.get(timeout=_CONNECTS_IN)
        except queue.Empty:
            raise _unreachable(address, f"no answer in {_CONNECTS_IN:.0f} s") from None
        if failure is not None:
            raise _unreachable(address, " ".join(str(failure).split())) from failure

    def close(self) -> None:
        """Disconnect, unless the connection was there before."""
        if self._ours:
            self.ray.shutdown()
        if self._files is not None:
            self._files.cleanup()


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise LabError("--on ray needs Ray; pip install 'softtargets[ray]'") from error
    module: ModuleType = ray
    return module


def _check_address(address: str) -> None:
    """Raise unless something takes connections there; "auto" and the like are left to Ray."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _unreachable(address, str(error)) from error
    if host is None or port is None:
        return
    try:
        socket.create_connection((host, port), timeout=_ANSWERS_IN).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error
    if os.environ.get("RAY_USE_TLS", "0") == "0" and not _speaks_grpc(f"{host}:{port}"):
        raise _unreachable(address, "something else answers there")


def _speaks_grpc(address: str) -> bool:
    """Whether Ray's protocol is spoken there; what cannot be asked in plain text is believed."""
    try:
        import grpc
    except ImportError:  # Ray has its own for addresses other than ray://
        return True
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_ANSWERS_IN)
        except grpc.FutureTimeoutError:
            return False
    return True


def _unreachable(address: str, why: str) -> LabError:
    return LabError(
        f"no Ray at {address} ({why}); start one with `ray start --head`, or compute without: "
        "--on processes:N"
    )
