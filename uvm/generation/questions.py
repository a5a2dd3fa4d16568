"""What the model is asked for a message, and its answers as drafts. Pure functions of a generation; nothing is sent here."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

from inference_worker.protocol import Completed, Generate, Sampling
from uvm.generation import stages
from uvm.generation.drafting import Commission, Voice
from uvm.generation.generation import Generation
from uvm.generation.stages import Draft, Plan

WARMER: Final = 0.4
"""Added to the temperature when more drafts are asked for, and nothing that the failed ones read can be left out."""

UNATTENDED: Final = "heartbeat"
"""Sessions whose name begins so are the image's own: nobody waits for their messages."""


def priority_of(session: str) -> Literal["interactive", "background"]:
    """How urgent the model's answer is: a tool that has sent a message waits for the reply."""
    return "background" if session.startswith(UNATTENDED) else "interactive"


def requests(
    generation: Generation, plan: Plan, given: Commission, deadline_ms: int, owner: str, identifier: Callable[[str], str]
) -> Iterator[tuple[str, Generate]]:
    """The requests of one round of drafts, each with the persona that is to answer it.

    The first round: a greedy draft, and the rest drawn at the plan's temperature. In a later one every draft has failed, and
    what they read is suspect: each time one of it is left out of the grammar, and the model says what it holds for next best.
    """

    def request(persona: str, samplings: list[Sampling], without: str = "") -> tuple[str, Generate]:
        voice = given.personas[persona]
        return persona, Generate(
            id=identifier(f"{owner}-{persona}"),
            model=voice.model,
            adapter=voice.adapter or None,
            adapter_name=voice.adapter_name,
            prompt=plan.prompt,
            samplings=samplings,
            max_tokens=plan.max_tokens,
            grammar=given.grammar(without),
            chat=plan.chat,
            stream=True,
            logprobs=True,
            priority=priority_of(generation.want.session),
            session=generation.want.session,
            deadline_ms=deadline_ms,
        )

    suspects = stages.read_by(generation.drafts)[: plan.drafts]
    if generation.rounds and suspects:
        persona = next(iter(given.personas))
        yield from (request(persona, [Sampling()], suspect) for suspect in suspects)
        return
    seed = int.from_bytes(generation.oid) % 2**31 + generation.rounds * plan.drafts
    temperature = min(2.0, plan.temperature + WARMER * generation.rounds)
    number = 0
    for persona, share in stages.split(plan.drafts, list(given.personas)):
        samplings = []
        for _ in range(share):
            greedy = number == 0 and not generation.rounds
            samplings.append(Sampling() if greedy else Sampling(temperature=temperature, top_p=0.95, seed=seed + number))
            number += 1
        yield request(persona, samplings)


def thought_request(voice: Voice, thought: Any, identifier: str, session: str) -> Generate:
    """What a method asks the model, in a message of this session or in the trial of a draft for one."""
    return Generate(
        id=identifier,
        model=voice.model,
        adapter=voice.adapter or None,
        adapter_name=voice.adapter_name,
        prompt=thought.prompt,
        max_tokens=thought.max_tokens,
        priority=priority_of(session),
        session=session,
    )


def drafts_of(signature: str, persona: str, samplings: Sequence[Sampling], answer: Completed) -> list[Draft]:
    """The model's answers as drafts: the signature and the body."""
    return [
        Draft(
            source=f"{signature}\n{output.text.rstrip()}\n",
            persona=persona,
            seed=sampling.seed,
            temperature=sampling.temperature,
            logprob=output.logprob,
            tokens=output.tokens,
            mode=answer.mode or "base",
            why="" if output.finish == "stop" else "cut off at the longest answer",
        )
        for sampling, output in zip(samplings, answer.outputs, strict=False)
    ]
