"""Bodies that are no messages to the seed: it ignores each as a whole, and the connection stays open."""

from tests.seed.decoding import MAX_NESTING
from tests.seed.frames import BODY_LIMIT


def nested_call(levels: int) -> bytes:
    """A `Call` that is nested so many levels deep in all."""
    arrays = levels - 2
    return b'{"Call":{"call_id":"1","object_name":"math","method":"m","args":%s}}' % (b"[" * arrays + b"]" * arrays)


INVALID_BODIES = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b'"HasObject"',
    b'{"HasObject":["math"]}',
    b'{"HasObject":{"object_name":"math"}} {}',
    b'{"HasObject":{"object_name":"a"},"HasObject":{"object_name":"b"}}',
    b'{"HasObject":{"object_name":"a"},"Registered":{"object_name":"a"}}',
    b'{"Unsubscribe":{"object_name":"a","topic":"b"}}',
    b'{"HasObject":{}}',
    b'{"HasObject":{"object_name":1}}',
    b'{"HasObject":{"object_name":"a","object_name":"a"}}',
    b'{"HasObject":{"object_name":"\xff"}}',
    b'{"HasObject":{"object_name":"\\ud800"}}',
    b'{"HasObject":{"object_name":"\n"}}',
    b'{"Publish":{"object_name":"a","topic":"b"}}',
    b'{"Publish":{"object_name":"a","topic":"b","args":1e400}}',
    b'{"Publish":{"object_name":"a","topic":"b","args":%s}}' % (b"9" * 5000),
    b'{"Publish":{"object_name":"a","topic":"b","args":NaN}}',
    b'{"Publish":{"object_name":"a","topic":"b","args":007}}',
    b'{"Publish":{"object_name":"a","topic":"b","args":["\\udc00"]}}',
    nested_call(MAX_NESTING + 1),
    b"[" * BODY_LIMIT,
]
