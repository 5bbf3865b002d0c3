"""The production channel: 0MQ DEALER to DEALER over TCP, encrypted and authenticated with CURVE.

The only package that imports zmq. One socket has one connection to one peer for one session, never a second:

* the listening end lets one authenticated peer in and turns everybody else away for as long as it lives, so
  that nobody can be fair-queued in beside it (a party with two peers listens on two ports);
* a listening end for many, `Reception`, answers small documents and runs no session (`reception.py`);
* the connecting end tries with a fresh socket each time until it is in; a connection that is lost afterwards
  stays lost, and the next `recv` says so.

No heartbeats are sent, so the bytes on the wire are exactly those that `wire_bytes` and `preamble_bytes`
announce. A peer that dies closes its connection and is noticed at once. A peer whose machine or network
vanishes without a word is noticed by `recv`'s deadline, or by the kernel's keep-alive probes (about a minute;
they carry no payload), whichever comes first.

What others can make this process hold in memory is bounded (`watcher.py`): strangers by `MAX_WAITING`
connections of `CHUNK_BYTES` each, for at most `HANDSHAKE_S` seconds; the peer by `MAX_QUEUED_BYTES`.
"""

from parties.tcp.channel import TcpChannel
from parties.tcp.chunks import CHUNK_BYTES
from parties.tcp.connecting import connect
from parties.tcp.listening import Listener
from parties.tcp.reception import Reception, Visitor
from parties.tcp.socket import HANDSHAKE_S
from parties.tcp.watcher import MAX_QUEUED_BYTES, MAX_WAITING

__all__ = [
    "CHUNK_BYTES",
    "HANDSHAKE_S",
    "MAX_QUEUED_BYTES",
    "MAX_WAITING",
    "Listener",
    "Reception",
    "TcpChannel",
    "Visitor",
    "connect",
]
