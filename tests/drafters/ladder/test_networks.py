"""The ladder's networks have the seed study's sizes, and begin as it describes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.drafters.checkpoint import trainable_class
from crossdraft.drafters.ladder.inputs import Inputs, LadderNetwork, Widths
from crossdraft.drafters.registry import LADDER
from tests.drafters.ladder.made import made_pairs
from tests.tiny import built, tiny, tiny_options


def network(name: str, widths: Widths, **options: Any) -> LadderNetwork:
    kind: Any = trainable_class(name)
    made: LadderNetwork = kind.Network(widths, kind.config_from(options))
    return made.eval()


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("bottleneck", {}, 2_113_537),
        ("multi-bottleneck", {}, 6_324_227),
        ("wide-bottleneck", {"num_blocks": 2}, 16_797_698),
        ("wide-bottleneck", {}, 25_188_355),
        ("attention", {}, 100_714_497),
        ("attention", {"num_layers": 2}, 184_639_489),
        ("eagle", {}, 102_819_841),
        ("target-eagle", {}, 102_819_841),
        ("fused-eagle", {}, 169_936_897),
        ("eagle-fusion", {"num_fusion_layers": 1}, 189_058_304),
    ],
)
def test_as_many_parameters_as_the_seed_study_counts(
    name: str, options: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        made = network(name, Widths(4096, 4096, 32000, 32000), **options)
    assert sum(weight.numel() for weight in made.parameters()) == parameters


@pytest.mark.parametrize("name", LADDER)
def test_widths_that_differ_cost_one_projection(name: str) -> None:
    same, other = (
        network(name, Widths(16, width, 50, 50), **tiny_options(name)) for width in (16, 10)
    )
    assert not any("input_projection" in key for key in same.state_dict())
    extra = other.state_dict().keys() - same.state_dict().keys()
    assert extra == ({"input_projection.weight"} if name != "target-eagle" else set())


def test_before_training_l1_to_l3_are_a_norm_and_the_others_nearly_nothing() -> None:
    torch.manual_seed(0)
    states, widths = torch.randn(2, 5, 16), Widths(16, 16, 50, 50)
    inputs = Inputs(event=states, target=states)
    normed = torch.nn.functional.layer_norm(states, (16,))
    for name in ("bottleneck", "multi-bottleneck"):
        said = network(name, widths, **tiny_options(name))(inputs).states
        assert torch.allclose(said, normed, atol=1e-6)
    twice = torch.nn.functional.layer_norm(normed, (16,))
    said = network("wide-bottleneck", widths, **tiny_options("wide-bottleneck"))(inputs).states
    assert torch.allclose(said, twice, atol=1e-6)
    for name in ("attention", "eagle", "target-eagle", "fused-eagle"):
        made = network(name, widths, **tiny_options(name))
        with torch.no_grad():
            made.alpha.zero_()  # type: ignore[operator]
        assert torch.equal(made(inputs).states, states)


@pytest.mark.parametrize(("bias", "reads"), [(50.0, "event"), (-50.0, "target")])
def test_an_open_gate_lets_the_event_model_through(bias: float, reads: str) -> None:
    """Beside the mixed states the target's own go on, and both where they are projected."""
    made: Any = network("fused-eagle", Widths(16, 16, 0, 0), **tiny_options("fused-eagle"))
    one, other, same = torch.randn(3, 1, 4, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.fusion_proj.weight.zero_()
        made.gate[0].bias.fill_(bias)
        made.gate[0].weight.zero_()
        for changed in ("event", "target"):
            moved = []
            for states in (one, other):
                inputs = Inputs(**{"event": same, "target": same, changed: states})
                moved.append(made(inputs).states - (1 - made.alpha) * inputs.target)
            assert torch.allclose(moved[0], moved[1], atol=1e-5) == (changed != reads)


def test_two_layers_of_eagle_fusion_run() -> None:
    made = network("eagle-fusion", Widths(16, 10, 50, 50), hidden_dim=8, num_attention_heads=2)
    said = made(Inputs(torch.randn(3, 7, 10), tokens=torch.randint(0, 50, (3, 7))))
    assert said.scores is not None
    assert (said.states.shape, said.scores.shape) == ((3, 7, 16), (3, 7, 50))


def test_a_layer_says_what_torch_says() -> None:
    """Same weights under the same names as torch's own attention."""
    torch.manual_seed(0)
    layer: Any = network("attention", Widths(16, 16, 0, 0), num_heads=4).get_submodule("layers.0")
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    theirs.load_state_dict(layer.attn.state_dict())
    rows = torch.randn(2, 6, 16)
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
    wanted, _ = theirs(rows, rows, rows, attn_mask=hidden)
    assert torch.allclose(layer.attn(rows, ~hidden), wanted, atol=1e-6)


def test_what_cannot_be_is_refused() -> None:
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("attention", {"bidirectional": True}, "leak"),
        ("attention", {"loss": "seed", "alignment": "forced"}, "leak"),
        ("attention", {"loss": "guess"}, "loss"),
        ("eagle", {"alignment": "both"}, "alignment"),
        ("bottleneck", {"bottleneck_dim": 0}, "bottleneck_dim"),
        ("bottleneck", {"num_heads": 2}, "no option"),
        ("target-eagle", {"alignment": "own"}, "no option"),
        ("fused-eagle", {"dropout": 1.0}, "dropout"),
    ]
    for name, options, said in refused:
        with pytest.raises(InputError, match=said):
            tiny(name, **options)
    with pytest.raises(InputError, match="heads"):
        built("attention", made_pairs(2), num_heads=3)
    with pytest.raises(InputError, match="over the target's answers"):
        built("bottleneck", made_pairs(2, known=("own", "target")))
