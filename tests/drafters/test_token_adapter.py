"""The seed study's network: its size, its shift, its checkpoints, and trimmed vocabularies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import Arrival, RecordedStream
from crossdraft.decoding.replay import rank_of_next
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.checkpoint import load_drafter, save_drafter
from crossdraft.drafters.token_adapter import (
    TokenAdapter,
    TokenAdapterConfig,
    TokenAdapterDrafter,
)
from crossdraft.drafters.trainable import TokenBatch
from crossdraft.pairs.record import Pair
from tests.make import QUESTION, pair_of, recorded_pairs
from tests.tiny import built, tiny


@pytest.mark.parametrize(("vocab", "parameters"), [(32000, 45_476_096), (32010, 45_486_346)])
def test_size_is_that_of_the_seed_study(vocab: int, parameters: int) -> None:
    with torch.device("meta"):
        network = TokenAdapter(TokenAdapterConfig(), vocab, vocab)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


def adapter(pairs: list[Pair] | tuple[Pair, ...], **options: Any) -> TokenAdapterDrafter:
    drafter = built("token-adapter", pairs, **options)
    assert isinstance(drafter, TokenAdapterDrafter)
    return drafter


def copies(count: int) -> list[Pair]:
    """Target token i+1 is drafter token i plus 100; target token 0 is always 7."""
    generator = torch.Generator().manual_seed(5)
    pairs = []
    for _ in range(count):
        draft = torch.randint(10, 16, (6,), generator=generator).tolist()
        pairs.append(pair_of([7, *(token + 100 for token in draft)], draft))
    return pairs


def test_output_i_predicts_target_token_i_plus_1() -> None:
    """The index convention, on a task whose right answer is known."""
    drafter = adapter(copies(64), dropout=0.0)
    optimizer = torch.optim.AdamW(drafter.network.parameters(), lr=1e-2)
    batch = TokenBatch.of(copies(64), drafter.max_length)
    drafter.network.train()
    for _ in range(60):
        optimizer.zero_grad()
        drafter.loss(batch).value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    drafter.network.eval()
    (pair,) = copies(1)
    ranks = rank_of_next(drafter, pair, Arrival())
    assert ranks == [None, 0, 0, 0, 0, 0, 0], "all but token 0, for which it proposes nothing"
    drafter.begin(Context(QUESTION, RecordedStream(pair.draft_tokens)))
    chain = drafter.propose(pair.target_tokens[:2], Budget.chain(4)).tokens.tolist()
    assert chain == list(pair.target_tokens[2:6])
    seen = drafter.loss(batch)
    assert (seen.tokens, seen.top1) == (64 * 6, 64 * 6)


def test_later_drafter_tokens_change_nothing_before_them() -> None:
    drafter = adapter(recorded_pairs(12))
    one, other = [20, 100, 21, 105, 22, 2], [20, 100, 21, 110, 20, 20]
    for prefix in ([5], [5, 6], [5, 6, 7]):
        proposed = []
        for draft in (one, other):
            drafter.begin(Context(QUESTION, RecordedStream(draft)))
            proposed.append(drafter.propose(prefix, Budget.next_token(4)))
        assert proposed[0].tokens.tolist() == proposed[1].tokens.tolist()
        assert proposed[0].logq.tolist() == pytest.approx(proposed[1].logq.tolist(), abs=1e-5)


def test_nothing_is_proposed_that_was_not_read() -> None:
    """Output i has read tokens 0..i: with three arrived there are outputs 0, 1 and 2."""
    drafter = adapter(recorded_pairs(12))
    stream = RecordedStream((20, 100, 21, 105, 22, 2))
    stream.visible = 3
    drafter.begin(Context(QUESTION, stream))
    assert len(drafter.propose([5, 6], Budget.chain(5))) == 2
    assert len(drafter.propose([5, 6, 7, 100], Budget.chain(5))) == 0
    stream.visible = 6
    assert len(drafter.propose([5, 6, 7, 100], Budget.chain(5))) == 5, "finished: it goes on"


def test_padding_mask_makes_the_batch_not_matter() -> None:
    """With the mask, positions behind the end read the answer and themselves, no other padding;
    without it, as in the seed study, they read the padding before them."""
    network = TokenAdapter(
        TokenAdapterConfig(embed_dim=16, num_heads=2, ffn_dim=32, num_layers=2), 12, 12
    ).double().eval()  # fmt: skip
    tokens = torch.tensor([[3, 4, 5, 0, 0, 0]])
    changed = torch.tensor([[3, 4, 5, 9, 9, 0]])
    lengths = torch.tensor([3])
    last = network(tokens, lengths)[0, 5]
    assert torch.allclose(last, network(changed, lengths)[0, 5], atol=1e-12)
    assert not torch.allclose(network(tokens)[0, 5], network(changed)[0, 5], atol=1e-6)
    inside = network(tokens, lengths)[0, :3]
    assert torch.allclose(inside, network(tokens)[0, :3], atol=1e-12), "causal either way"
    assert torch.isfinite(network(torch.zeros(2, 4, dtype=torch.int64), torch.tensor([0, 4]))).all()


def test_padding_to_the_longest_is_padding_to_128() -> None:
    pairs = recorded_pairs(16)
    for mask in (True, False):
        drafter = adapter(pairs, dropout=0.0, padding_mask=mask)
        drafter.network.double()
        short, full = (TokenBatch.of(pairs, 128, pad_to) for pad_to in (None, 128))
        with torch.no_grad():
            one, other = drafter.loss(short), drafter.loss(full)
        assert float(one.value) == pytest.approx(float(other.value), abs=1e-12)
        assert (one.tokens, one.top1, one.top5) == (other.tokens, other.top1, other.top5)


def test_trimmed_vocabulary_proposes_what_the_full_checkpoint_proposes(tmp_path: Path) -> None:
    pairs = recorded_pairs(12)
    drafter = adapter(pairs)
    path = tmp_path / "best_model.safetensors"
    save_drafter(drafter, path)
    full = TokenAdapter.load(path)
    assert full.embedding.weight.shape == (32000, 16)
    seen_targets = {token for pair in pairs for token in pair.target_tokens[1:]}
    draft = torch.tensor([[20, 100, 31999, 105, 22, 2]])  # 31999 was never seen
    drafter.begin(Context(QUESTION, RecordedStream(draft[0].tolist())))
    with torch.no_grad():
        ranked = full(draft, torch.tensor([6]))[0].argsort(dim=-1, descending=True)
    for position in range(1, 7):
        tree = drafter.propose([0] * position, Budget.next_token(5))
        assert tree.tokens.tolist() == ranked[position - 1, :5].tolist()
    everything = drafter.propose([0], Budget.next_token(64))
    assert set(everything.tokens.tolist()) <= seen_targets, "expanded rows are never proposed"


def test_unknown_drafter_ids_share_one_row(tmp_path: Path) -> None:
    drafter = adapter(recorded_pairs(12))
    save_drafter(drafter, tmp_path / "m.safetensors")
    rows = TokenAdapter.load(tmp_path / "m.safetensors").embedding.weight
    assert torch.equal(rows[30000], rows[31999])
    assert not torch.equal(rows[20], rows[31999])
    proposals = []
    for unknown in (30000, 31999, 10**6):
        drafter.begin(Context(QUESTION, RecordedStream((20, unknown, 22))))
        proposals.append(drafter.propose([5, 6], Budget.chain(4)).tokens.tolist())
    assert proposals[0] == proposals[1] == proposals[2]


def seed_checkpoint(path: Path, network: TokenAdapter) -> None:
    torch.save({"model_state_dict": network.state_dict(), "epoch": 11, "val_acc": 0.2666}, path)


def test_seed_checkpoint_loads(tmp_path: Path) -> None:
    """The seed study's best_model.pt: no configuration inside, sizes from the shapes."""
    config = TokenAdapterConfig(
        embed_dim=16, num_heads=8, ffn_dim=24, num_layers=3, max_seq_len=40, vocab_size=50,
        padding_mask=False, draft_vocab="full",
    )  # fmt: skip
    network = TokenAdapter(config, 50, 50).eval()
    seed_checkpoint(tmp_path / "best_model.pt", network)
    loaded = load_drafter(tmp_path)
    assert loaded.trained_on is None
    assert loaded.extra == {"epoch": 11, "val_acc": 0.2666}
    assert loaded.drafter.config == config
    tokens = torch.tensor([[3, 4, 5, 49]])
    again = TokenAdapter.load(tmp_path / "best_model.pt")
    assert torch.equal(again(tokens), network(tokens))


def test_seed_network_is_the_torch_encoder_it_was() -> None:
    """Against a plain re-statement of the architecture from torch's own functions."""
    config = TokenAdapterConfig(embed_dim=16, num_heads=2, ffn_dim=32, num_layers=1)
    network = TokenAdapter(config, 9, 9).double().eval()
    tokens = torch.tensor([[3, 1, 4, 1, 5]])
    state = dict(network.state_dict())
    x = state["embedding.weight"][tokens] + state["position_embedding.weight"][:5]
    layer = "transformer.layers.0."
    projected = functional.linear(
        x, state[layer + "self_attn.in_proj_weight"], state[layer + "self_attn.in_proj_bias"]
    )
    q, k, v = (part.view(1, 5, 2, 8).transpose(1, 2) for part in projected.chunk(3, dim=-1))
    scores = q @ k.transpose(-1, -2) / 8**0.5 + torch.full((5, 5), -torch.inf).triu(1)
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(1, 5, 16)

    def linear(name: str, value: torch.Tensor) -> torch.Tensor:
        return functional.linear(value, state[name + ".weight"], state[name + ".bias"])

    def norm(name: str, value: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(value, (16,), state[name + ".weight"], state[name + ".bias"])

    x = norm(layer + "norm1", x + linear(layer + "self_attn.out_proj", mixed))
    fed = linear(layer + "linear2", functional.gelu(linear(layer + "linear1", x)))
    x = norm(layer + "norm2", x + fed)
    expected = linear("output_proj.1", norm("output_proj.0", x))
    assert torch.allclose(network(tokens), expected, atol=1e-10)


def test_pickles_with_code_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("this must not run",))

    torch.save({"model_state_dict": {"embedding.weight": Evil()}}, tmp_path / "best_model.pt")
    with pytest.raises(InputError, match="refused to load"):
        load_drafter(tmp_path)


def test_other_tensors_are_no_adapter(tmp_path: Path) -> None:
    torch.save({"model_state_dict": {"weight": torch.zeros(3, 3)}}, tmp_path / "m.pt")
    with pytest.raises(InputError, match="not the tensors of a token adapter"):
        load_drafter(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embed_dim": 30, "num_heads": 8}, "no multiple of 8 heads"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"depth": 3}, "no option 'depth'"),
    ],
)
def test_impossible_sizes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny("token-adapter", **options)


def test_vocabulary_must_hold_the_data() -> None:
    with pytest.raises(InputError, match="token id 110 is outside"):
        adapter([pair_of([5, 110, 2], [20])], vocab_size=100)
    assert adapter([pair_of([5, 32001, 2], [20])]).describe()["vocab_size"] == 32010


def test_answers_of_one_token_teach_nothing() -> None:
    with pytest.raises(InputError, match="longer than one token"):
        adapter([pair_of([2], [20])])
