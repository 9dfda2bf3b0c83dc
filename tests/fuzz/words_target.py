"""The words of `rob`: whatever is typed gives a value or a `UsageError`."""

from __future__ import annotations

from random import Random

from ipc_broker.cli.signature import parse_arguments
from ipc_broker.cli.words import COMMANDS, OPTIONS, UsageError, read_words
from ipc_broker.protocol.encodings import JSON
from tests.fuzz.coverage import Coverage
from tests.fuzz.inputs import Input

_SIGNATURES = ("s", "i", "f", "b", "n", "j", "{ii}", "(si)", "{s(if)}", "{n{s}}", "((j)(j))", "{}", "()", "(nnn)")
_WORDS = (
    *(
        "a",
        "10",
        "b",
        "32",
        "-1.5",
        "true",
        "false",
        "null",
        "text",
        "",
        "-",
        "--",
        "@file",
        "@@at",
        "@",
        "@\0",
        "-",
        "=",
        "a=",
    ),
    *(
        "x=1",
        "x=[1,2]",
        'x={"a":1}',
        "x=1e5",
        "x=1e999",
        "x=-",
        "x=@f",
        "9223372036854775807",
        "9223372036854775808",
        "NaN",
    ),
    *(
        "-9223372036854775808",
        "1e308",
        "1e309",
        "-0",
        "0x10",
        "1_0",
        "\u0661",
        "inf",
        '"',
        '{"a":[1,{"b":null}]}',
        "[1,2",
        "\ud800",
    ),
    *(
        "007",
        "+5",
        "1.",
        ".5",
        "1e",
        "=x",
        '"a"=1',
        "k\0=v",
        "x=9" + "9" * 400,
        "x=" + "1" * 5000,
        "x=" + "[" * 200 + "]" * 200,
    ),
    *(
        "[" * 5000,
        "[" * 20_000 + "]" * 20_000,
        "9" * 5000,
        "0" * 5000,
        "1" + "0" * 400,
        "\U0001f321",
        "\xff\udcff",
        "x=\udcff",
    ),
)
_OPTION_VALUES = (
    "1",
    "0",
    "-1",
    "nan",
    "1e400",
    "a=b",
    "=",
    "x",
    "",
    "tcp://1.2.3.4:1",
    "debug",
    "9" * 400,
    "\ud800",
    "0.5",
)
_ALPHABET = 'sifbjn(){}=@-"[]:,.0123456789eE+ \t\nabc\\\0\u00e4\U0001f321\ud800'


class WordsTarget:
    name = "words"

    def __init__(self, coverage: Coverage) -> None:
        self.coverage = coverage

    def make(self, number: int, rng: Random) -> Input:
        labels: list[str] = []
        values = rng.random() < 0.6
        words = self._values(rng) if values else self._line(rng)
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            place = rng.randrange(len(words)) if words else -1
            way = rng.choice(("word", "drop", "twice", "swap", "letter", "letter", "letters"))
            labels.append(f"words_{way}")
            if way == "word":
                words.insert(rng.randrange(len(words) + 1), rng.choice(_WORDS))
            elif place < 0:
                continue
            elif way == "drop":
                del words[place]
            elif way == "twice":
                words.insert(place, words[place])
            elif way == "swap":
                words[place] = rng.choice(words)
            else:
                words[place] = _other_letters(rng, words[place], 1 if way == "letter" else 5)
        target = "words, values" if values else "words, command line"
        return Input(number, target, words=tuple(words), way=rng.random(), labels=tuple(labels))

    def _values(self, rng: Random) -> list[str]:
        if rng.random() < 0.3:
            return [rng.choice(_WORDS) for _ in range(rng.randrange(4))]
        signature = rng.choice(_SIGNATURES)
        if rng.random() < 0.3:
            signature = "".join(rng.choice("sifbjn(){}") for _ in range(rng.choice((1, 3, 8))))
        elif rng.random() < 0.1:
            depth = rng.choice((10, 124, 125, 126, 127, 2000))
            signature = "(" * depth + "s" + ")" * depth
        return [signature, *(rng.choice(_WORDS) for _ in range(rng.choice((0, 1, 2, 2, 3, 4))))]

    def _line(self, rng: Random) -> list[str]:
        words = [rng.choice(tuple(COMMANDS)), "math", "add", *(rng.choice(_WORDS) for _ in range(rng.randrange(3)))]
        for _ in range(rng.choice((0, 1, 2))):
            name = rng.choice(tuple(OPTIONS))
            value = rng.choice(_OPTION_VALUES)
            place = rng.randrange(len(words) + 1)
            words[place:place] = rng.choice(([f"--{name}"], [f"--{name}={value}"], [f"--{name}", value]))
        return words

    def play(self, given: Input) -> None:
        refusal = None
        try:
            if given.target == "words, values":
                value = parse_arguments(given.words, read=_read)
                JSON.encode_payload(value)  # it can be sent, in JSON at least
            else:
                request = read_words(given.words)
                assert request.command is not None or request.help or request.version
        except UsageError as error:
            refusal = str(error)
        assert refusal != "", "nobody is told what is wrong"
        self.coverage.ends["words taken" if refusal is None else "usage error"] += 1

    def check(self) -> None:
        """Nothing is kept between inputs."""

    def close(self) -> None:
        """It holds nothing open."""


def _other_letters(rng: Random, word: str, count: int) -> str:
    for _ in range(count):
        place = rng.randrange(len(word) + 1)
        word = word[:place] + rng.choice(_ALPHABET) + word[place + rng.choice((0, 1, 1, 3)) :]
    return word


def _read(source: str) -> str:
    """In the place of files and standard input."""
    if "\0" in source:
        raise ValueError("embedded null byte")
    if source == "-":
        return "from\nstandard input"
    if len(source) % 3 == 0:
        raise FileNotFoundError(2, "No such file or directory")
    if len(source) % 3 == 1:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    return '{"a": [1]}'
