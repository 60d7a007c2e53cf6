"""The guest, reached by ssh: all commands share one connection (ssh_config(5), ControlMaster).

A command of its own costs 0.1 to 0.2 seconds then, and when the connection is lost every one of them ends.
"""

import os
import select
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from harness.vm_errors import VMError

LOST = 255  # ssh's own exit code
PATIENCE = 60.0  # seconds for a connection, on a machine that is busy
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "20",
    "ServerAliveInterval": "10",  # a network that is gone is noticed after a minute
    "ServerAliveCountMax": "6",
    # An emulated processor takes a second for the key exchange that ssh prefers, and little for these.
    "KexAlgorithms": "^curve25519-sha256",
    "HostKeyAlgorithms": "^ssh-ed25519",
}


class Lost(VMError):
    """The connection to the guest is gone."""


class Guest:
    """A guest, to be used with `with`.  `config` is what `vagrant ssh-config` prints, `name` the host's name in it.

    Entering raises VMError when no connection can be made.
    """

    def __init__(self, config: str, name: str) -> None:
        self.config, self.name = config, name

    def __enter__(self) -> "Guest":
        if not shutil.which("ssh"):
            raise VMError("there is no ssh here: install openssh-client, or use ./bootstrap, which does")
        with ExitStack() as undo:
            # Not in the checkout: the path of a socket has no more than 107 letters (unix(7)).
            directory = Path(tempfile.mkdtemp(prefix="stages-vm-"))
            undo.callback(shutil.rmtree, directory, ignore_errors=True)
            (directory / "config").write_text(self.config)
            self._ssh = ["ssh", "-F", str(directory / "config"), "-o", f"ControlPath={directory}/socket"]
            self._ssh += [word for key, value in OPTIONS.items() for word in ("-o", f"{key}={value}")]
            self._errors = directory / "errors"
            undo.callback(self._disconnect)
            self._connect(directory / "socket")
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _connect(self, socket: Path) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            with open(self._errors, "w") as errors:
                # In a session of its own: Ctrl-C is for us, who then end what runs inside.
                self._master = subprocess.Popen(
                    [*self._ssh, "-MN", self.name],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            while self._master.poll() is None and not socket.exists() and time.monotonic() < end:
                time.sleep(0.01)
            if socket.exists():
                return
            self._disconnect()
            if time.monotonic() > end:
                why = " ".join(self._errors.read_text(errors="replace").split()) or "no answer"
                raise Lost(f"the guest does not answer by ssh: {why}")
            time.sleep(0.1)

    def _disconnect(self) -> None:
        # Asked so it goes at once; a signal alone makes it wait for an answer of the guest's.
        with suppress(subprocess.TimeoutExpired):
            subprocess.run([*self._ssh, "-O", "exit", self.name], capture_output=True, timeout=2, check=False)
        self._master.kill()
        self._master.wait()

    def command(self, script: str, *, terminal: bool = False) -> list[str]:
        """The words that run a shell script in the guest as root."""
        return [*self._ssh, "-t" if terminal else "-T", self.name, f"sudo -n sh -c {shlex.quote(script)}"]

    def run(
        self, script: str, *, stdin: bytes = b"", timeout: float = PATIENCE
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a shell script as root, to its end.  Raises Lost when the connection breaks, or it takes too long."""
        try:
            done = subprocess.run(
                self.command(script),
                input=stdin,
                capture_output=True,
                timeout=timeout,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Lost("the guest does not answer") from None
        if done.returncode == LOST:
            raise Lost("the connection to the guest broke")
        return done

    def follow(self, script: str, show: Callable[[bytes], None], silence: float) -> int:
        """Run a shell script as root, hand over what it prints as it comes, and return its exit code.

        Raises Lost when the connection breaks or nothing is printed for `silence` seconds.
        """
        with subprocess.Popen(
            self.command(script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as running:
            try:
                for words in _as_it_comes(running, silence):
                    show(words)
            except BaseException:
                running.terminate()
                raise
        if running.returncode == LOST:
            raise Lost("the connection to the guest broke")
        return running.returncode

    def send(self, tar: Sequence[str], script: str) -> "subprocess.CompletedProcess[bytes]":
        """Run a command here and give what it prints to a shell script there, as root.  Raises Lost."""
        with subprocess.Popen(tar, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as source:
            done = subprocess.run(
                self.command(script), stdin=source.stdout, capture_output=True, start_new_session=True, check=False
            )
            if source.stdout:
                source.stdout.close()  # if the other end is gone it gets SIGPIPE, else it has ended
        if done.returncode == LOST:
            raise Lost("the connection to the guest broke")
        return done

    def fetch(self, directory: str, target: Path) -> None:
        """Copy what is in a directory of the guest's to one of ours.  Raises Lost, OSError."""
        done = self.run(f"cd {shlex.quote(directory)} 2>/dev/null && tar -cf - .")
        with suppress(subprocess.CalledProcessError):  # there is nothing
            subprocess.run(
                ["tar", "-C", str(target), "--no-same-owner", "-xf", "-"],
                input=done.stdout,
                stderr=subprocess.DEVNULL,
                check=True,
            )


def _as_it_comes(running: "subprocess.Popen[bytes]", silence: float) -> Iterator[bytes]:
    assert running.stdout
    while True:
        ready, _, _ = select.select([running.stdout], [], [], silence)
        if not ready:
            raise Lost(f"nothing was heard of the guest for {silence:.0f} seconds")
        words = os.read(running.stdout.fileno(), 65536)
        if not words:
            return
        yield words
