"""What the decoding loop itself takes, and plain decoding through it against `generate`.

A random Llama of about 6 million parameters behind a prompt as long as Video-LLaVA's. Loop
overhead is the wall time of an answer less what the session (the model) and the drafter took, per
pass, as a share of the plain decode step of the same run; the rule's own look at the logits counts
as overhead. Ways take turns in one process; figures are medians over rounds.

    python benchmarks/decode_loop.py --json decode_loop.json --profile decode_loop.txt [--rounds 9]
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import statistics
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.result import machine
from crossdraft.base.tree import DraftTree
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.loop import Drafting, decode
from crossdraft.decoding.rules import GREEDY, Rule, Sampling, Warp
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import Fixed, cutting
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.none import NoDrafter
from crossdraft.drafters.suffix import SuffixDrafter
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Step
from crossdraft.vlm.target import Target

CONTEXT, QUESTION, NEW_TOKENS, VOCABULARY = 2056, 15, 50, 2000
#: What is asked for: bookkeeping in a decode step, and plain decoding over `generate`.
LIMITS = {"overhead": 0.03, "none_over_generate": 1.0}


def six_million() -> LlamaForCausalLM:
    """Six layers of width 256."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=704, num_hidden_layers=6,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=4096,
        bos_token_id=1, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.train(False)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.1)
    return model


class Timed:
    """Passes calls on and adds up what they took."""

    def __init__(self, inner: Any, names: Sequence[str]) -> None:
        self._inner, self.ms = inner, 0.0
        for name in names:
            setattr(self, name, self._timed(getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began_ms = now_ms()
            found = call(*args, **kwargs)
            self.ms += now_ms() - began_ms
            return found

        return timed


def prompt() -> Prompt:
    """A question behind a long prefix, read once."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (CONTEXT + QUESTION,), generator=generator).tolist()
    return Prompt(tuple(ids), CONTEXT)


def knowing(answer: Sequence[int]) -> SuffixDrafter:
    """A drafter that has heard this answer, whole and with its second half elsewhere: it is right
    most of the time, and proposes trees."""
    drafter = SuffixDrafter()
    drafter.begin(Context("q", AnswerStream()))
    for heard in (answer, [*answer[25:], *answer[:20]]):
        drafter.finish(heard)
    return drafter


def overhead(target: Target, rounds: int) -> dict[str, Any]:
    """The loop's own time of several drafters and rules, in plain decode steps of the same run."""
    asked = prompt()
    root = target.open(asked)

    def run(drafter: Drafter, budget: Budget, rule: Rule) -> tuple[Generation, float, float]:
        session = Timed(root.fork(Spans()), ("ask", "extend", "keep"))
        timed: Any = Timed(drafter, ("begin", "propose", "observe", "finish"))
        began_ms = now_ms()
        answer = decode(
            session, asked, Context("q", AnswerStream()),
            Drafting(timed, Fixed(budget), target.may_draft), StopAt(frozenset(), NEW_TOKENS), rule,
        )  # fmt: skip
        whole_ms = now_ms() - began_ms
        step_ms = statistics.median(
            span.duration_ms for span in answer.spans.spans if span.name in ("decode", "verify")
        )
        own_ms = (whole_ms - session.ms - timed.ms) / len(answer.passes)
        return answer, own_ms, step_ms

    plain = run(NoDrafter(), Budget(0, 0, 0), GREEDY)[0].tokens
    sampling = Sampling(Warp(0.8, 50, 0.95), 3)
    drawn = run(NoDrafter(), Budget(0, 0, 0), sampling)[0].tokens
    ways: dict[str, tuple[Callable[[], Drafter], Budget, Rule, Sequence[int]]] = {
        "none": (NoDrafter, Budget(0, 0, 0), GREEDY, plain),
        "suffix, chains of 4": (lambda: knowing(plain), Budget.chain(4), GREEDY, plain),
        "suffix, trees of 16": (lambda: knowing(plain), Budget.tree(16, 8), GREEDY, plain),
        "suffix cut by width": (
            lambda: cutting(knowing(plain)), Budget.tree(32, 16), GREEDY, plain,
        ),
        "none, sampling": (NoDrafter, Budget(0, 0, 0), sampling, drawn),
        "suffix, trees of 16, sampling": (
            lambda: knowing(drawn), Budget.tree(16, 8), sampling, drawn,
        ),
    }  # fmt: skip
    own: dict[str, list[float]] = {name: [] for name in ways}
    shares: dict[str, list[float]] = {name: [] for name in ways}
    seen: dict[str, Generation] = {}
    for turn in range(rounds + 1):
        step_ms = 0.0
        for name, (drafter, budget, rule, expected) in ways.items():
            seen[name], own_ms, own_step_ms = run(drafter(), budget, rule)
            if seen[name].tokens != tuple(expected):
                raise SystemExit(f"{name}: another answer than plain decoding's")
            step_ms = own_step_ms if name == "none" else step_ms
            if turn:  # the first round warms up
                own[name].append(own_ms)
                shares[name].append(own_ms / step_ms)
    return {
        name: {
            "own_us_per_pass": 1000 * statistics.median(own[name]),
            "share_of_plain_step": statistics.median(shares[name]),
            "tau": seen[name].tau,
        }
        for name in ways
    }


def against_generate(model: LlamaForCausalLM, target: Target, rounds: int) -> dict[str, Any]:
    """Whole answers, prompt included: our loop with `none` over `generate`, greedy and sampled."""
    whole: Any = model
    found: dict[str, Any] = {}
    ways: list[tuple[int, Rule, dict[str, Any]]] = [
        (length, rule, options)
        for length in (64, CONTEXT + QUESTION)
        for rule, options in (
            (GREEDY, {"do_sample": False}),
            (Sampling(Warp(0.8, 50, 0.95), 3),
             {"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.95}),
        )
    ]  # fmt: skip
    for length, rule, options in ways:
        asked = Prompt(prompt().ids[:length], 0)
        ids = torch.tensor([asked.ids])
        answers: dict[str, list[int]] = {}

        def ours(
            asked: Prompt = asked, answers: dict[str, list[int]] = answers, rule: Rule = rule
        ) -> None:
            drafting = Drafting(NoDrafter(), Fixed(Budget(0, 0, 0)), target.may_draft)
            answer = decode(
                target.open(asked), asked, Context("q", AnswerStream()), drafting,
                StopAt(frozenset(), NEW_TOKENS), rule,
            )  # fmt: skip
            answers["ours"] = list(answer.tokens)

        def theirs(
            ids: Any = ids,
            answers: dict[str, list[int]] = answers,
            options: dict[str, Any] = options,
        ) -> None:
            out = whole.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS,
                **options,
            )  # fmt: skip
            answers["generate"] = out[0, ids.shape[1] :].tolist()

        ratios, ours_ms, theirs_ms = [], [], []
        for turn in range(rounds + 1):
            times: dict[str, float] = {}
            order: list[tuple[str, Callable[[], None]]] = [("ours", ours), ("generate", theirs)]
            for name, way in order if turn % 2 else reversed(order):
                began_ms = now_ms()
                way()
                times[name] = now_ms() - began_ms
            if turn:
                ratios.append(times["ours"] / times["generate"])
                ours_ms.append(times["ours"])
                theirs_ms.append(times["generate"])
        found[f"prompt of {length}, {rule.name}"] = {
            "none_over_generate": statistics.median(ratios),
            "ours_ms": statistics.median(ours_ms),
            "generate_ms": statistics.median(theirs_ms),
            # Sampled ones are drawn by other numbers.
            "same_tokens": answers["ours"] == answers["generate"] if rule is GREEDY else None,
        }
    return found


def profiled(target: Target) -> str:
    """Where the time of drafted answers goes, by function."""
    asked = prompt()
    root = target.open(asked)
    drafting = Drafting(NoDrafter(), Fixed(Budget(0, 0, 0)), target.may_draft)
    stopping = StopAt(frozenset(), NEW_TOKENS)
    plain = decode(root.fork(), asked, Context("q", AnswerStream()), drafting, stopping).tokens
    profile = cProfile.Profile()
    for _ in range(10):
        drafting = Drafting(knowing(plain), Fixed(Budget.tree(16, 8)), target.may_draft)
        session = root.fork()
        profile.enable()
        decode(session, asked, Context("q", AnswerStream()), drafting, stopping)
        profile.disable()
    text = io.StringIO()
    stats = pstats.Stats(profile, stream=text).strip_dirs().sort_stats("cumulative")
    stats.print_stats(r"crossdraft|loop|verify|width|tree|causal|stopping|clock|suffix|rules", 40)
    return text.getvalue()


def warm(target: Target) -> None:
    """Compile what is compiled at the first call, before anything is timed."""
    knowing(range(3, 53)).propose((3, 4), Budget.tree(16, 8))
    Step(torch.zeros(1, 4), torch.zeros(1, 4)).kept(())
    target.may_draft(DraftTree.chain([3]).tokens)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    model = six_million()
    target = Target(model)
    warm(target)
    result = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "parameters": int(model.num_parameters()),
        "limits": LIMITS,
        "overhead": overhead(target, args.rounds),
        "none_against_generate": against_generate(model, target, args.rounds),
    }
    args.json.write_text(json.dumps(result, indent=2) + "\n")
    if args.profile is not None:
        args.profile.write_text(profiled(target))
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
