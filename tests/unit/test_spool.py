"""The spool, against plain bytes."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from swiftimgfs.layout import Layout
from swiftimgfs.writing.spool import ZERO_BLOCK, Spool, inline_pieces

FRACTIONS = st.floats(0, 1)


class SpoolMachine(RuleBasedStateMachine):
    """Do the same to a spool and to bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.spool = Spool()
        self.model = b""

    @rule(data=st.binary(max_size=20))
    def append(self, data):
        self.spool.append(data)
        self.model += data

    @rule(size=st.integers(0, 30))
    def append_zeros(self, size):
        self.spool.append_zeros(size)
        self.model += bytes(size)

    @rule(fraction=FRACTIONS)
    def cut(self, fraction):
        size = int(len(self.model) * fraction)

        taken = b"".join(self.spool.cut(size))

        assert taken == self.model[:size]
        self.model = self.model[size:]

    @rule(fraction=FRACTIONS)
    def truncate(self, fraction):
        size = int(len(self.model) * fraction)
        self.spool.truncate(size)
        self.model = self.model[:size]

    @invariant()
    def holds_what_the_bytes_hold(self):
        assert b"".join(self.spool.buffers()) == self.model
        assert self.spool.size == len(self.model)


TestSpoolAgainstBytes = SpoolMachine.TestCase
TestSpoolAgainstBytes.settings = hypothesis.settings(
    deadline=None, max_examples=50, stateful_step_count=20
)


def test_bytes_are_kept_and_not_copied():
    data = bytearray(b"0123456789")
    spool = Spool()

    spool.append(memoryview(data))

    (front,) = spool.cut(4)
    assert front.obj is data
    assert spool.buffers()[0].obj is data


def test_a_large_hole_costs_no_memory():
    spool = Spool()

    spool.append_zeros(10 * len(ZERO_BLOCK) + 1)

    assert spool.size == 10 * len(ZERO_BLOCK) + 1
    assert all(buffer.obj is ZERO_BLOCK.obj for buffer in spool.buffers())


def test_nothing_is_not_kept():
    spool = Spool()

    spool.append(b"")
    spool.append_zeros(0)

    assert (spool.size, list(spool.buffers())) == (0, [])


def test_buffers_handed_out_do_not_change_when_more_is_appended():
    spool = Spool()
    spool.append(b"one")

    before = spool.buffers()
    spool.append(b"two")

    assert b"".join(before) == b"one"


def test_buffers_are_pieces_of_a_layout():
    spool = Spool()
    spool.append(b"abc")
    spool.append_zeros(2)

    layout = Layout(inline_pieces(spool.buffers()))

    assert layout.size == 5
