"""Who leads and who follows: every call is told first, and only what all processes raise is got over."""

from collections import deque

import pytest

from azrl.rl.follow import Leader, dismiss, follow
from azrl.rl.memory import OutOfMemory
from azrl.rl.ranks import Ranks
from azrl.rl.types import NonFinite


class Wire(Ranks):
    """The first process's words, kept for the second."""

    def __init__(self):
        super().__init__(0, 2)
        self.said = deque()

    def tell(self, message):
        self.said.append(message)
        return message


class Heard(Ranks):
    def __init__(self, said):
        super().__init__(1, 2)
        self.said = said

    def tell(self, message):
        return self.said.popleft()


class Learner:
    """Counts updates; refuses those that it is told to."""

    def __init__(self, error=None):
        self.version, self.calls, self.error = 0, [], error

    def update(self, samples, *, seed, progress=0.0):
        self.calls.append((samples, seed, progress))
        if self.error is not None:
            raise self.error
        self.version += 1
        return {"loss": 1.0}

    def save(self, folder):
        self.calls.append(folder)


def test_followers_make_the_same_calls_in_the_same_order():
    wire, first, second = Wire(), Learner(), Learner()
    leader = Leader(first, wire)
    assert leader.update(["a"], seed=3, progress=0.5) == {"loss": 1.0}
    leader.save("there")
    dismiss(wire)
    follow(second, Heard(wire.said))
    assert second.calls == first.calls == [(["a"], 3, 0.5), "there"]
    assert leader.version == 1
    assert not wire.said


@pytest.mark.parametrize("error", [NonFinite("bad"), ValueError("bad")])
def test_what_all_raise_ends_nobody(error):
    wire, second = Wire(), Learner(error)
    leader = Leader(Learner(error), wire)
    with pytest.raises(type(error)):
        leader.update([], seed=0)
    leader.save("there")
    dismiss(wire)
    follow(second, Heard(wire.said))
    assert second.calls[-1] == "there"


@pytest.mark.parametrize("error", [OutOfMemory("full"), RuntimeError("broken")])
def test_what_one_raises_ends_the_run(error):
    """The others are in the middle of the call: nobody tells them anything, and a follower does not wait again."""
    wire = Wire()
    with pytest.raises(type(error)):
        Leader(Learner(error), wire).update([], seed=0)
    told = len(wire.said)
    dismiss(wire)
    assert len(wire.said) == told
    with pytest.raises(type(error)):
        follow(Learner(error), Heard(wire.said))
