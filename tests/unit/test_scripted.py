"""The scripted engine and the uniforms that both engines draw from."""

import numpy as np

from azrl.engine import Request, ScriptedEngine
from azrl.engine.draws import uniforms
from azrl.engine.scripted import END


def policy(prompt: str, u: float, k: int) -> str:
    return f"{prompt}|{k}|{u:.6f}|é"


def test_completions_spell_the_policy_and_end_with_the_end_token():
    [[one]] = ScriptedEngine(lambda prompt, u, k: "né").generate([Request("ab", max_tokens=10)])
    assert one.token_ids == (*"né".encode(), END)
    assert (one.text, one.prompt_ids, one.finish) == ("né", (97, 98), "stop")
    assert len(one.logprobs) == len(one.token_ids)


def test_a_completion_is_cut_at_max_tokens():
    [[one]] = ScriptedEngine(lambda prompt, u, k: "abcdef").generate([Request("p", max_tokens=3)])
    assert (one.text, one.token_ids, one.finish) == ("abc", tuple(b"abc"), "length")
    [[exact]] = ScriptedEngine(lambda prompt, u, k: "ab").generate([Request("p", max_tokens=3)])
    assert (exact.text, exact.finish) == ("ab", "stop")


def test_draws_depend_on_seed_and_sample_only():
    engine = ScriptedEngine(policy)
    alone = engine.generate([Request("a", max_tokens=99, n=3, seed=5)])
    among = engine.generate([Request("z", max_tokens=99, seed=1), Request("a", max_tokens=99, n=3, seed=5)])
    assert alone[0] == among[1]
    assert len({completion.text.split("|")[2] for completion in alone[0]}) == 3
    greedy = engine.generate([Request("a", max_tokens=99, temperature=0.0, seed=5)])
    assert greedy[0][0].text.split("|")[2] == "0.000000"


def test_stream_keeps_request_order_and_scores_agree():
    engine = ScriptedEngine(policy)
    requests = [Request(p, max_tokens=50, n=2) for p in "abc"]
    groups = list(engine.stream(requests))
    assert [index for index, _ in groups] == [0, 1, 2]
    completion = groups[1][1][1]
    assert engine.score([(completion.prompt_ids, completion.token_ids)]) == [list(completion.logprobs)]


def test_sync_keeps_what_it_was_given():
    engine = ScriptedEngine(policy)
    engine.sync({"w": 1})
    engine.sync({"w": 2})
    assert (engine.weights, engine.syncs) == ({"w": 2}, 2)
    engine.close()
    engine.close()


def test_uniforms_first_value_of_splitmix64():
    """The finaliser of the published generator: state 0 yields 0xE220A8397B1DCDAF first."""
    from azrl.engine.draws import _GAMMA, _mix

    assert int(_mix(np.array([_GAMMA], dtype=np.uint64))[0]) == 0xE220A8397B1DCDAF


def test_uniforms_are_uniform_and_independent_of_neighbours():
    keys = [(seed, k) for seed in range(100) for k in range(20)]
    block = uniforms(keys, 100)
    assert block.shape == (100, 2000)
    assert block.dtype == np.float32
    assert block.min() >= 0.0
    assert block.max() < 1.0
    counts = np.bincount((block.ravel() * 64).astype(int), minlength=64)
    expected = block.size / 64
    chi = float(((counts - expected) ** 2 / expected).sum())
    assert 25 < chi < 115  # 63 degrees of freedom: mean 63, standard deviation 11.2
    centred = block - 0.5
    for one, other in ((centred[1:], centred[:-1]), (centred[:, 1:], centred[:, :-1])):
        assert abs(float((one * other).mean())) * 12 < 5 / np.sqrt(block.size)
    np.testing.assert_array_equal(uniforms([keys[37]], 100)[:, 0], block[:, 37])
    np.testing.assert_array_equal(uniforms(keys, 7), block[:7])
    assert not np.array_equal(uniforms([(-1, 0)], 8), uniforms([(1, 0)], 8))
