"""vLLM's OpenAI-compatible server on this machine's loopback, as a process that a test may kill and start again."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

CPU = ("--dtype", "float32", "--enforce-eager", "--kv-cache-memory-bytes", str(1 << 28))
SHORT_JSON = '{"backend": "xgrammar", "disable_any_whitespace": true}'  # blanks are all that a random model would write
NO_CHUNKS = "--no-enable-chunked-prefill"  # a CPU's random generators cannot be set back, as it needs with seeds


class VllmServer:
    """One model on one port that stays its own. `stop` and `kill` end the server with all its processes."""

    def __init__(self, model: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._model = model
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For --base-url."""
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> "VllmServer":
        """Start it; it answers some 20 to 60 seconds later."""
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(self._model), *CPU]
        command += [NO_CHUNKS, "--structured-outputs-config", SHORT_JSON]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return self

    def wait(self, seconds: float = 300) -> "VllmServer":
        """Until it answers."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the server ended"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5):
                    return self
            except OSError:
                time.sleep(0.5)
        raise TimeoutError(self.url)

    def answered(self) -> int:
        """Requests since it was started, by its own count."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as page:
            lines = page.read().decode().splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("vllm:request_success_total"))

    def kill(self) -> None:
        """At once, without a word to anybody."""
        if self._process is not None:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait(60)
            self._process = None

    def stop(self) -> None:
        """In good order, or else at once."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self.kill()


def signal_group(leader: int, number: signal.Signals) -> None:
    """To a process that leads a group, and all that it started; those that are gone are no error."""
    with suppress(ProcessLookupError):
        os.killpg(leader, number)
