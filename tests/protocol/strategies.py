"""Messages as hypothesis makes them: with awkward names and payloads."""

from hypothesis import strategies as st
from msgspec import UNSET, Raw, json

from ipc_broker.messages import (
    MAX_NAME,
    Call,
    Error,
    Event,
    HasObject,
    HasObjectResult,
    Message,
    Publish,
    Registered,
    RegisterObject,
    RegisterService,
    Result,
    Subscribe,
    Subscribed,
)

# JSON's own characters, what looks like another message, and the longest name, in characters of 4 bytes.
AWKWARD_NAMES = [
    "",
    '"',
    "\\",
    "}",
    '":{',
    '{"Call":',
    "a\n\t\x00b",
    "*",
    ">",
    "a.b",
    "é\u2028\x7f",
    "\U0001f600" * MAX_NAME,
]
NAMES = st.sampled_from(AWKWARD_NAMES) | st.text(max_size=20)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
PAYLOADS = JSON_VALUES.map(json.encode).map(Raw)

MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(RegisterObject, NAMES),
    st.builds(RegisterService, NAMES, NAMES),
    st.builds(Call, NAMES, NAMES, NAMES, PAYLOADS),
    st.builds(Result, NAMES, NAMES, PAYLOADS),
    st.builds(
        Error,
        NAMES | st.none(),
        NAMES,
        st.text(),
        code=NAMES,
        type=NAMES,
        data=st.just(UNSET) | PAYLOADS,
        delivered=st.sampled_from(["", "no", "maybe", "yes"]),
    ),
    st.builds(Subscribe, NAMES, NAMES),
    st.builds(Publish, NAMES, NAMES, PAYLOADS),
    st.builds(Event, NAMES, NAMES, PAYLOADS),
    st.builds(Subscribed, NAMES, NAMES),
    st.builds(HasObject, NAMES),
    st.builds(HasObjectResult, NAMES, st.booleans()),
    st.builds(Registered, NAMES),
)
