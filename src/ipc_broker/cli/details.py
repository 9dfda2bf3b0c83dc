"""What `rob COMMAND --help` says between the command's usage and its options: lines of at most 80 characters.

Apart from the tables of `words.py`, since a call needs none of it.
"""

from __future__ import annotations

_CALLING = """\
Without a signature the words are converted by the types that the object's
worker tells of (rob describe OBJECT), by place, by name, or first one then the
other: rob call math add 10 b=32. What is missing or wrong is said before
anything is called. A text stands for itself; lists, maps and classes are JSON;
bytes are base64, or @FILE or - for the content of a file or standard input.
A first word that is all symbols of a signature, such as n or b, is taken for
one: give such a text by its name, rob call greeter greet name=n.

"""

_ARGUMENTS = """\
What is sent is one of
  KEY=VALUE...        a map                    rob {name} a=10 b=32
  SIGNATURE WORD...   what the signature says  rob {name} {{ii}} a 10 b 32
  nothing             null                     rob {name}

Symbols of a signature:
  s  string                     b  true or false
  i  64-bit integer             n  null; takes no word
  f  number                     j  JSON
  (...)  list                   {{...}}  map: a key, then a value, for each symbol

Where the symbol is s or j the word - reads standard input, @FILE reads a file,
and @@ begins a literal @. Negative numbers are words as they stand; after --
everything is a word.
"""

_TREE = """\
Topics are those that are subscribed to, retained, or were published of late.
"""

_DESCRIBING = """\
Methods are shown as Python writes them; --json gives them with their types as
JSON Schema. An object is opaque when its worker tells nothing of its methods,
as those of the Rust crate and a SharedObject do.
"""

_STUBS = """\
A Protocol, with classes for what its methods take and give:
  rob stubs math > math_api.py
Then client.object("math", Math, check=True) is typed by it, and held against
what the object's worker tells when it is made. With --blocking it is for the
client of ipc_broker.sync.
"""

_WAITING = """\
Each object is told of when it is there. The exit status is 1 when one is still
missing after --timeout: rob wait math --timeout 5 && rob call math add 10 32
"""

_COMPLETION = """\
SHELL is bash, zsh or fish. For this shell, or in its startup file for all:
  bash   eval "$(rob completion bash)"
  zsh    eval "$(rob completion zsh)"
  fish   rob completion fish | source

Objects, methods, arguments and topics are those that the broker knows at that
moment; without a broker only what is known without it is completed.
"""

_LISTENING = """\
In OBJECT and TOPIC, which are words between dots, * stands for any one word and
> at the end for all the rest: rob listen 'sensor.*' '>'

With --count it ends after so many events, with --timeout after that time. With
both, the exit status is 1 when too few came in time.
"""

_MONITORING = """\
A call and its answer have the same number. OBJECT and METHOD (of an event: its
topic) may have wildcards: rob monitor 'sensor.*'. Calls of the broker's own
object are shown when it is named: rob monitor rob.

KINDS are call, answer, event, object and connection, or more exactly item,
result, error and cancel: rob monitor --only call,error

What is over 1,000 records a second is counted, not shown, and payloads over
4 KiB are left out, so that nobody is held up. --all and --full show them.
"""

_TOP = """\
Latencies are those of the answers in the last interval: half of them, and 99 of
100, came within that time. Piped, or with --json, one table or document follows
the other.
"""

_WHY = """\
Calls that take longer than a second, with the worker they are at; subscribers
that do not take their events, and publishers that wait for them; connections
that do not read; connections that ended without goodbye. Each with what one
can do about it.
"""

_SERVING = """\
TARGET is one of
  package.module:Class      an instance of it, made without arguments
  package.module:instance   an object that the module has made
  package.module            the functions that the module defines

Modules of the current folder are found too. The public methods are served under
NAME until Ctrl-C; running calls then end first.

With --reload the object is in a process of its own. When a source of its
package (for a single module: of its folder) changes, a new process takes over
as soon as it is ready, and the old one still answers what it was called for.
While there is an error in the source the old one goes on.
"""

_RECORDING = """\
Records until Ctrl-C, --timeout or --count. The file is text, one JSON document
a line, and must not be there yet; - is standard output. `rob replay` and
`rob mock` play it.
"""

_REPLAYING = """\
The events are published with the time that was between them when they were
recorded. FILE is what `rob record` wrote, or - for standard input.
"""

_MOCKING = """\
Serves all objects that were called in the recording, until Ctrl-C. The same
method with the same arguments is answered as it was: with each answer in turn,
then with the last one again; errors and streams too. Arguments that were not
recorded are an error that names those that were.
"""

_BENCH = """\
Round trips to the broker, calls to a worker and events to a subscriber, for a
second each (--interval); it starts the worker and the subscriber itself. What
else the machine does counts too.
"""

_DEMO = """\
It starts a broker of its own on a temporary socket (or at --address), a worker
and a subscriber, shows what they say, and leaves nothing behind.
"""

DETAILS = {
    "call": _CALLING
    + _ARGUMENTS.format(name="call math add").replace(
        "What is sent is", "With a signature, or where no types are told, it is"
    ),
    "send": _ARGUMENTS.format(name="send math done"),
    "listen": _LISTENING,
    "tree": _TREE,
    "describe": _DESCRIBING,
    "stubs": _STUBS,
    "wait": _WAITING,
    "completion": _COMPLETION,
    "monitor": _MONITORING,
    "top": _TOP,
    "why": _WHY,
    "serve": _SERVING,
    "record": _RECORDING,
    "replay": _REPLAYING,
    "mock": _MOCKING,
    "bench": _BENCH,
    "demo": _DEMO,
}
"""By the command's name; some need none."""
