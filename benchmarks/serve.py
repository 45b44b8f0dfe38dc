"""The page's server: its start, an answer, and 2,000 requests, 50 at a time: python benchmarks/serve.py [REQUESTS].

A quarter of the requests are hostile: text, cut short, one pixel, sizes that a header makes up, nothing. Every sound
photograph has to be answered, where 429 means to come again, and every hostile one refused with its own status. Prints
ratios to a prototype that took 0.22 s of CPU time to be ready, and 57 ms for an answer on two quiet cores.
"""

from __future__ import annotations

import collections
import http.client
import io
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import Result, ratio
from PIL import Image, ImageEnhance
from skimage.data import astronaut

READY, ANSWER, WISHED = 0.22, 0.057, 0.150
"""Seconds: of the prototype, and what an answer may take."""
STARTS, ANSWERS, PEOPLE = 5, 30, 50
TICKS = os.sysconf("SC_CLK_TCK")


class Connection(http.client.HTTPConnection):
    """Sends at once what it has, as browsers do."""

    def connect(self) -> None:
        super().connect()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: bytes) -> int:
        """Return the status of an answer, which is read whole."""
        self.request("POST", path, body, {"Content-Type": "application/octet-stream"})
        answer = self.getresponse()
        answer.read()
        return answer.status


def photograph(number: int) -> bytes:
    """Return a photograph that the server has not seen: scikit-image's astronaut in another brightness."""
    file = io.BytesIO()
    ImageEnhance.Brightness(Image.fromarray(astronaut())).enhance(0.8 + 0.004 * (number % 100)).save(file, "JPEG")
    return file.getvalue() + number.to_bytes(4)  # what follows a JPEG's end is not read


def pixels_that_are_not_there(width: int, height: int) -> bytes:
    """Return a PNG that says a size and has a few bytes."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99)))]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def hostile() -> list[bytes]:
    """Return what is refused with 400 or 422."""
    one = io.BytesIO()
    Image.new("RGB", (1, 1)).save(one, "PNG")
    whole = photograph(0)
    return [
        *(b"", b"no picture", whole[: len(whole) // 2], one.getvalue()),
        *(pixels_that_are_not_there(*size) for size in ((100_000, 100_000), (2**31 - 1, 1), (7000, 7000))),
    ]


def start() -> tuple[subprocess.Popen[str], int, float, float]:
    """Start a server; return it with its port, the seconds until it was ready, and those of CPU time."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "facecycle_cli", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = next(line for line in process.stdout if "is open" in line)
    wall = time.perf_counter() - begun
    return process, int(line.partition("/ is")[0].rpartition(":")[2]), wall, cpu_seconds(process.pid)


def end(process: subprocess.Popen[str]) -> None:
    """End a server, which has to end well."""
    process.terminate()
    assert process.wait(30) == 0


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process took until now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICKS


def answers(port: int, process: int) -> list[Result]:
    """Time answers about photographs that are new, and about one that was asked about before."""
    connection = Connection("127.0.0.1", port)

    def timed(number: int) -> float:
        body = photograph(number)
        begun = time.perf_counter()
        assert connection.post(f"/api/translate?face=0&strength=1&photograph={len(body)}", body) == 200
        return time.perf_counter() - begun

    first = timed(0)
    print(f"the first answer: {1000 * first:.0f} ms")

    def several(name: str, numbers: list[int]) -> list[float]:
        before = cpu_seconds(process)
        taken = [timed(number) for number in numbers]
        cpu = (cpu_seconds(process) - before) / len(numbers)
        median = statistics.median(taken)
        print(f"{name}: {1000 * median:.0f} ms, least {1000 * min(taken):.0f}, {1000 * cpu:.0f} of CPU time")
        return taken

    new = several("a new photograph", list(range(1, ANSWERS + 1)))
    again = several("the same again", [ANSWERS] * ANSWERS)
    return [
        ratio("an answer, against the prototype", [ANSWER] * len(new), new),
        ratio("an answer, against what is wished", [WISHED] * len(new), new, 1),
        ratio("the same again, against the prototype", [ANSWER] * len(again), again),
    ]


def load(port: int, process: int, requests: int) -> None:
    """Ask so often, by 50 people at a time, and check every answer."""
    bad, again = hostile(), collections.Counter[int]()

    def ask(number: int) -> tuple[bool, int]:
        sound = number % 4 > 0
        body = photograph(number % 10) if sound else bad[number // 4 % len(bad)]
        path = "find" if number % 2 else f"translate?face=0&strength=1&photograph={max(1, len(body))}"
        connection = Connection("127.0.0.1", port, timeout=120)
        while (status := connection.post(f"/api/{path}", body)) == 429:
            again[429] += 1
            time.sleep(1)  # as Retry-After says
        connection.close()
        return sound, status

    begun = time.perf_counter()
    with ThreadPoolExecutor(PEOPLE) as people:
        found = collections.Counter(people.map(ask, range(requests)))
    taken = time.perf_counter() - begun
    status = dict(line.split(":") for line in Path(f"/proc/{process}/status").read_text().splitlines())
    print(f"{requests:,} requests, {PEOPLE} at a time: {taken:.0f} s, {again[429]:,} came again after a 429")
    for (sound, code), count in sorted(found.items()):
        print(f"  {'sound' if sound else 'hostile'}: {code}, {count:,} times")
    print(f"  peak of memory: {int(status['VmHWM'].split()[0]) / 1024:.0f} MiB")
    assert {code for sound, code in found if sound} == {200}, "a sound photograph was not answered"
    assert {code for sound, code in found if not sound} <= {400, 422}, "a hostile one was not refused"


def measure(requests: int = 2000) -> list[Result]:
    """Start servers, time answers, and put one under load."""
    starts = []
    for _ in range(STARTS):
        process, _, *taken = start()
        starts.append(taken)
        end(process)
    wall, cpu = ([each[place] for each in starts] for place in (0, 1))
    print(
        f"ready after {statistics.median(wall):.2f} s, {statistics.median(cpu):.2f} s of CPU time, median of {STARTS}"
    )
    process, port, _, _ = start()
    results = [ratio("ready, CPU time against the prototype", [READY] * STARTS, cpu), *answers(port, process.pid)]
    load(port, process.pid, requests)
    end(process)
    return results


if __name__ == "__main__":
    for result in measure(*map(int, sys.argv[1:2])):
        print(result.line())
