"""A network made by the kernel: two network namespaces, a cable between them, and `tc netem` at both ends.

    party -> loopback -> near forwarder =[ namespace -- veth, netem -- namespace ]=> far forwarder -> party

A forwarder has one socket outside and one in a namespace; sockets stay in the namespace in which they were
made. So TCP goes the whole slow way, with its slow start and its congestion control, and parties need not
know of it. This takes Linux, root, `ip` and `tc`, and a kernel with netem.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import math
import multiprocessing
import os
import shutil
import socket
import subprocess
from collections.abc import Generator
from functools import lru_cache
from pathlib import Path
from typing import Any

from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.relay import HOST, Line, await_listener, bound, serve
from parties.errors import ConfigError

NEAR, FAR = "10.203.0.1", "10.203.0.2"
"""Addresses of the cable's ends; every cable has namespaces of its own."""
FAR_PORT = 7000
QUEUE_PACKETS = 1_000_000
"""Nothing is dropped before so many wait."""
_CLONE_NEWNET = 0x40000000
_AT_ONCE = Line(0.0, None)
_COMMAND_S = 30.0
_numbers = itertools.count()


@lru_cache(maxsize=1)
def why_not() -> str:
    """Why networks cannot be made this way here; empty where they can."""
    if not hasattr(socket, "AF_PACKET") or os.geteuid() != 0:
        return "it takes Linux and root"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "it takes the programs ip and tc (iproute2)"
    try:
        with _namespace() as name:
            _run(
                "ip",
                "netns",
                "exec",
                name,
                "tc",
                "qdisc",
                "add",
                "dev",
                "lo",
                "root",
                "netem",
                "delay",
                "1ms",
            )
    except ConfigError as error:
        return str(error)
    return ""


def netem(network: Network) -> list[str]:
    """What `tc qdisc add dev DEVICE root` is told; nothing for a network without limits."""
    words = ["delay", f"{round(network.latency * 1e6)}us"] if network.latency else []
    words += [] if math.isinf(network.bandwidth) else ["rate", f"{round(network.bandwidth)}bit"]
    return ["netem", *words, "limit", str(QUEUE_PACKETS)] if words else []


def cross(network: Network, port: int, running: contextlib.ExitStack) -> int:
    """A way to a port of this machine's loopback interface over a network; the port at which it begins.

    Args:
        running: ends it.

    Raises:
        ConfigError: namespaces or netem cannot be had; the message has the program's own words.
    """
    near, far = (running.enter_context(_namespace()) for _ in range(2))
    _run("ip", "-n", near, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", far)
    for name, address in ((near, NEAR), (far, FAR)):
        _run("ip", "-n", name, "address", "add", f"{address}/30", "dev", "cable")
        _run("ip", "-n", name, "link", "set", "cable", "up")
        if told := netem(network):
            _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "cable", "root", *told)
    _start(running, _far_side, far, port)
    with bound() as listener:
        _start(running, _near_side, near, listener, port)
        return listener.getsockname()[1]


@contextlib.contextmanager
def _namespace() -> Generator[str]:
    """A network namespace for as long as the block lasts; its name."""
    name = f"mpcinfer-{os.getpid()}-{next(_numbers)}"
    _run("ip", "netns", "add", name)
    try:
        yield name
    finally:
        with contextlib.suppress(ConfigError):
            _run("ip", "netns", "delete", name)


def _run(*words: str) -> None:
    try:
        result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_COMMAND_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{' '.join(words)}: {error}") from None
    if result.returncode:
        raise ConfigError(f"{' '.join(words)}: {result.stderr.strip() or result.returncode}")


def _start(running: contextlib.ExitStack, target: Any, *arguments: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    process.start()
    running.callback(process.join)
    running.callback(process.terminate)


def _near_side(name: str, listener: socket.socket, port: int) -> None:
    """Accepts outside, once somebody listens at the end of the way, and connects inside."""
    await_listener(port)
    with open(Path("/run/netns") / name, "rb") as inside:
        _enter(inside.fileno())
    serve(listener, (FAR, FAR_PORT), _AT_ONCE)


def _far_side(name: str, port: int) -> None:
    """Listens inside and connects outside."""
    with open("/proc/self/ns/net", "rb") as outside, open(Path("/run/netns") / name, "rb") as inside:
        _enter(inside.fileno())
        listener = socket.create_server((FAR, FAR_PORT))
        _enter(outside.fileno())
    serve(listener, (HOST, port), _AT_ONCE)


def _enter(descriptor: int) -> None:
    """Moves this thread, and those that it starts, into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
