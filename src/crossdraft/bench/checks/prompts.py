"""One prompt, wherever one is built, and the one that is written out: same ids, cut and hash."""

from __future__ import annotations

from crossdraft.bench.checks.case import Case
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.written import written_prompt
from crossdraft.vlm.config_file import read_config
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import options_of, prompts_of
from crossdraft.vlm.prompt import Prompt, PromptBuilder


def check_prompts(case: Case) -> Check:
    """Hashes of the prompt as it is written out, built, asked, answered, and built again."""
    expected, again = written_prompt(case), prompts_from_files(case.pair, case.role)
    assert again is not None
    session, _ = case.ask()
    (answer,) = case.opened.session.answer_many([case.question], 1)
    hashes = {
        "written out": expected.hash,
        "builder": case.prompt.hash,
        "session": Prompt(session.tokens, case.prompt.cut).hash,
        "answer_many": answer.prompt_hash,
        "builder after use": case.prompts(case.scene, case.question).hash,
        "builder from the folder": again(case.scene, case.question).hash,
    }
    other = {name: found for name, found in hashes.items() if found != expected.hash}
    said = "; ".join(f"{name} has {found}" for name, found in other.items())
    line = (
        f"{len(expected.ids)} ids, {expected.cut} of them up to the end of the picture, "
        f"hash {expected.hash} in {len(hashes) - len(other)} of {len(hashes)} places"
    )
    return case.check(
        "prompts", not other, f"{line}; {said}" if said else line,
        ids=len(expected.ids), cut=expected.cut, hashes=hashes,
    )  # fmt: skip


def prompts_from_files(pair: ModelPair, role: Role) -> PromptBuilder | None:
    """A builder of a model's prompts, without the model; None where it has none.

    Raises:
        InputError: the model is not there, or its files or the pair's choices are wrong.
    """
    spec = pair.spec(role)
    place = spec.place(role)
    architectures = read_config(place)[1]
    return prompts_of(place, architectures, options_of(spec, role, architectures))
