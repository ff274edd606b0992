import errno
import random
import socket

from deploy.errors import StartError

LOOPBACK = "127.0.0.1"

# Below the range from which Linux and macOS take the ports of outgoing connections (32768 and 49152). From inside
# it, a server that restarts could find its port taken by any client, and a client that polls for it could even
# connect to itself.
FREE_PORTS = range(20_000, 32_768)


def free_port() -> int:
    for port in random.sample(FREE_PORTS, 1000):
        if _refusal(port) is None:
            return port
    raise StartError(f"No free port between {FREE_PORTS.start} and {FREE_PORTS.stop}: name one yourself.")


def usable_port(port: int, server: str, option: str) -> int:
    """The port to listen on: `port` if it can be had, any free one for 0."""
    if port == 0:
        return free_port()
    refusal = _refusal(port)
    if refusal is None:
        return port
    if refusal.errno == errno.EADDRINUSE:
        raise StartError(
            f"Port {port} for {server} is taken: stop what listens there, or choose another with {option}."
        )
    raise StartError(f"{server} cannot listen on port {port} ({refusal.strerror}): choose another with {option}.")


def _refusal(port: int) -> OSError | None:
    with socket.socket() as listener:
        # Without it the port of a server that has just stopped counts as taken for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen()
        except OSError as error:
            return error
        except OverflowError:
            return OSError(errno.EINVAL, "not a port number")
    return None
