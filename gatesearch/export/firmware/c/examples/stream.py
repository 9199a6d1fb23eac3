"""Streams sound to a board over a serial line, and compares its answers with the golden vectors.

    python stream.py /dev/ttyACM0                  plays the golden vectors: PASS, or the first difference
    python stream.py /dev/ttyACM0 sound.wav        streams a WAV file, and prints what the board detects
    python stream.py --pty ./board [sound.wav]     the same with a program of this host as the board

The board runs board.c. A file sound.wav needs one channel of 16-bit samples at the plan's rate.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import struct
import subprocess
import sys
import termios
import tty
import wave
from pathlib import Path
from typing import NamedTuple

FIRMWARE = Path(__file__).resolve().parents[2]
VECTORS, HEADER = FIRMWARE / "test" / "vectors.h", FIRMWARE / "src" / "gs_plan.h"
ANSWER = struct.Struct("<bIif")  # last stage, stages that caught up, class, confidence
INFO = struct.Struct("<III12s")  # rate, hop, number of classes, digest of the plan
DIGEST_BYTES = 12
TIMEOUT_S = 10.0
BLOCK_BYTES = 512  # bytes that are written to the line at once
Answer = tuple[int, int, int, float]


class Plan(NamedTuple):
    """The plan of a board, or of this folder."""

    rate: int
    hop: int
    classes: int
    digest: bytes


class Line:
    """A serial line.

    Args:
        descriptor: its file descriptor.
        process: the program at its other end, if this script started one.
    """

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self.descriptor, self.process = descriptor, process

    def write(self, data: bytes) -> None:
        """Write all bytes."""
        while data:
            data = data[os.write(self.descriptor, data[:BLOCK_BYTES]) :]

    def read(self, count: int) -> bytes:
        """Read this number of bytes; the script ends if none come in time."""
        data = b""
        while len(data) < count:
            if not select.select([self.descriptor], [], [], TIMEOUT_S)[0]:
                sys.exit(f"stream: no answer from the board in {TIMEOUT_S:.0f} s: {len(data)} of {count} bytes came")
            try:
                part = os.read(self.descriptor, count - len(data))
            except OSError as error:
                sys.exit(f"stream: the line broke: {error.strerror}")
            if not part:
                sys.exit("stream: the board closed the line")
            data += part
        return data

    def close(self) -> None:
        """End the program at the other end, if there is one."""
        os.close(self.descriptor)
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def open_serial(path: str, rate: int) -> Line:
    """Return the line of a serial device, without any translation of its bytes."""
    speed = getattr(termios, f"B{rate}", None)
    if speed is None:
        sys.exit(f"stream: --rate {rate}: this system has no such rate")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(descriptor)
        settings = termios.tcgetattr(descriptor)
        settings[4] = settings[5] = speed
        termios.tcsetattr(descriptor, termios.TCSANOW, settings)
        termios.tcflush(descriptor, termios.TCIOFLUSH)
    except (OSError, termios.error) as error:
        sys.exit(f"stream: {path} is no serial line: {error}")
    return Line(descriptor)


def open_program(command: str) -> Line:
    """Start a program of this host behind a pseudo-terminal, and return the line to it."""
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        process = subprocess.Popen([command], stdin=slave, stdout=slave)
    except OSError as error:
        sys.exit(f"stream: {command}: {error.strerror}; wanted: a program, such as that of make board")
    os.close(slave)
    return Line(master, process)


def read_vectors(text: str) -> tuple[bytes, list[Answer]]:
    """Return the golden samples and the golden answers of vectors.h."""
    rows = re.findall(r"^ *\{(-?\d+), (\d+), (-?\d+), ([^}]+)\}", text, re.M)
    answers = [
        (int(stage), int(caught_up), int(label), float.fromhex(confidence.rstrip("f")))
        for stage, caught_up, label, confidence in rows
    ]
    numbers = text.partition("gs_vector_samples[] = {")[2]
    samples = [int(number) for number in re.findall(r"-?\d+", numbers)]
    return struct.pack(f"<{len(samples)}h", *samples), answers


def read_sound(path: str, rate: int) -> bytes:
    """Return the samples of a WAV file."""
    try:
        with wave.open(path) as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, rate):
                return file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        sys.exit(f"stream: {path}: {error}")
    sys.exit(f"stream: {path}: wanted: one channel of 16-bit samples at {rate} Hz")


def read_header(text: str) -> tuple[Plan, dict[int, str]]:
    """Return the plan of gs_plan.h, and the macro of each class."""
    numbers = dict(re.findall(r"^#define (GS_RATE|GS_HOP|GS_CLASSES) (\d+)", text, re.M))
    digest = text.partition('#define GS_PLAN_DIGEST "')[2].partition('"')[0].encode()[:DIGEST_BYTES]
    labels = {int(k): name for name, k in re.findall(r"^#define GS_CLASS_(\w*) (\d+)", text, re.M)}
    rate, hop, classes = (int(numbers[name]) for name in ("GS_RATE", "GS_HOP", "GS_CLASSES"))
    return Plan(rate, hop, classes, digest), labels


def check_board(line: Line, plan: Plan) -> None:
    """End the script if the board runs another plan; else start a new stream on the board."""
    line.write(b"I")
    rate, hop, classes, digest = INFO.unpack(line.read(INFO.size))
    board = Plan(rate, hop, classes, digest.rstrip(b"\0"))
    if board != plan:
        sys.exit(f"stream: the board has another plan than this folder: {board}; wanted: {plan}")
    line.write(b"R")
    line.read(1)


def run_hop(line: Line, samples: bytes) -> Answer:
    """Return the board's answer to the samples of a hop."""
    line.write(b"H" + samples)
    stage, caught_up, label, confidence = ANSWER.unpack(line.read(ANSWER.size))
    return stage, caught_up, label, confidence


def compare_vectors(line: Line, hop: int) -> int:
    """Play the golden vectors; return 0 if the board answers every hop alike."""
    sound, answers = read_vectors(VECTORS.read_text(encoding="utf-8"))
    for k, expected in enumerate(answers):
        answer = run_hop(line, sound[2 * hop * k : 2 * hop * (k + 1)])
        if answer != expected:
            print(f"FAIL hop {k}: the board answers {answer}; the golden vector is {expected}")
            return 1
    print(f"PASS {len(answers)} hops, {sum(label >= 0 for _, _, label, _ in answers)} detections")
    return 0


def stream_sound(line: Line, sound: bytes, plan: Plan, labels: dict[int, str]) -> int:
    """Print what the board detects in a sound: the time at which the hop ends, the class and the confidence."""
    for k in range(len(sound) // (2 * plan.hop)):
        _, _, label, confidence = run_hop(line, sound[2 * plan.hop * k : 2 * plan.hop * (k + 1)])
        if label >= 0:
            print(f"{(k + 1) * plan.hop / plan.rate:9.2f} s  {labels.get(label, label)}  {confidence:.2f}", flush=True)
    return 0


def main() -> int:
    """Stream the golden vectors or a sound; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("board", help="a serial device, or a program with --pty")
    parser.add_argument("sound", nargs="?", help="a WAV file; without it, the golden vectors")
    parser.add_argument("--pty", action="store_true", help="start a program of this host as the board")
    parser.add_argument("--rate", type=int, default=115200, help="bits per second of the serial line")
    options = parser.parse_args()
    plan, labels = read_header(HEADER.read_text(encoding="utf-8"))
    sound = None if options.sound is None else read_sound(options.sound, plan.rate)
    line = open_program(options.board) if options.pty else open_serial(options.board, options.rate)
    try:
        check_board(line, plan)
        return compare_vectors(line, plan.hop) if sound is None else stream_sound(line, sound, plan, labels)
    finally:
        line.close()


if __name__ == "__main__":
    sys.exit(main())
