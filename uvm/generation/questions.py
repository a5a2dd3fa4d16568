"""What the model is asked for a message, and its answers as drafts. Pure functions and values; nothing is sent here."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, Protocol

from msgspec import Struct

from inference_worker.protocol import Completed, Generate, Sampling
from uvm.generation import answers, stages
from uvm.generation.manner import Manner
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Draft, Plan
from uvm.language.grammar import grammar_for

WARMER: Final = 0.4
"""Added to the temperature when more drafts are asked for, and nothing that the failed ones read can be left out."""

SAMPLINGS: Final = 16
"""Drafts that one request asks for."""

UNATTENDED: Final = "heartbeat"
"""Sessions whose name begins so are the image's own: nobody waits for their messages."""


class Voice(Struct, frozen=True):
    """A persona's model and adapter, by digest."""

    model: str
    adapter: str = ""
    adapter_name: str = ""


class Commission(Struct, frozen=True):
    """Everything a message is drafted with: the voices of its personas, and what a draft may say after `self.`.

    `new`: slots that the receiver has not, and that the selector speaks of; `fields`: what the objects have that it can reach.
    `covenant`: the first paragraph that the image's `reflectOn_` was handed; `covenants`: those that the personas are asked with,
    `manners`: how. `refused`: drafts for this message that were not good enough, each with why, in a line.
    """

    personas: dict[str, Voice]
    slots: list[str]
    selectors: list[str]
    parameters: list[str]
    covenant: str = ""
    covenants: dict[str, str] = {}
    manners: dict[str, Manner] = {}
    new: list[str] = []
    fields: list[str] = []
    refused: list[str] = []

    def prompt(self, persona: str, planned: str) -> str:
        """The planned prompt in a persona's own words: its first paragraph in the place of the one that all inherit.

        A plan that begins in another way is the image's own, and stays. A model that follows a long text is told what was refused before.
        """
        own = self.covenants.get(persona, self.covenant)
        inherits = own == self.covenant or not planned.startswith(f"{self.covenant}\n")
        prompt = planned if inherits else own + planned.removeprefix(self.covenant)
        # What a small model was trained on has no such lines, and it would write worse with them.
        return prompt if self.manner(persona).guidance == "listed" or not self.refused else _with_lines(prompt, self.refused)

    def manner(self, persona: str) -> Manner:
        """How a persona is asked."""
        return self.manners.get(persona, Manner())

    def system(self, persona: str, planned: str) -> str:
        """The message of the system, where a persona is asked in a chat: the first paragraph of its prompt; '' without one."""
        own = self.covenants.get(persona, self.covenant)
        talks = self.manner(persona).chat and own and self.prompt(persona, planned).startswith(f"{own}\n")
        return own if talks else ""

    def grammar(self, persona: str, without: str = "") -> str:
        """The grammar of a persona's answer, '' for none; `without` is a name that a draft must do without."""
        guidance = self.manner(persona).guidance
        if guidance == "none":
            return ""
        slots, selectors, new, fields = (
            [name for name in names if name != without] for names in (self.slots, self.selectors, self.new, self.fields)
        )
        return grammar_for(slots, selectors, self.parameters, new=new, fields=fields, free=guidance == "free")


def _with_lines(prompt: str, lines: Sequence[str]) -> str:
    """A prompt with further lines before its last one, which is the method's first."""
    head, _, last = prompt.rstrip("\n").rpartition("\n")
    return "\n".join([*([head] if head else []), *lines, last]) + "\n"


class Asked(Protocol):
    """What a method asks the model: in service a `Thought`, in a trial a `NeededThought`."""

    @property
    def prompt(self) -> str: ...

    @property
    def max_tokens(self) -> int: ...


def priority_of(session: str) -> Literal["interactive", "background"]:
    """How urgent the model's answer is: a tool that has sent a message waits for the reply."""
    return "background" if session.startswith(UNATTENDED) else "interactive"


def requests(
    request: MethodRequest,
    plan: Plan,
    commission: Commission,
    drafts: Sequence[Draft],
    *,
    rounds: int,
    wide: bool = False,
    seed: int,
    deadline_ms: int,
    identifier: Callable[[str], str],
) -> Iterator[tuple[str, Generate]]:
    """The requests of one round of drafts, each with the persona that is to answer it. `drafts`: those of the `rounds` before.

    The first round is of the first persona: a greedy draft, and the rest drawn at the plan's temperature. In a later one every draft has
    failed, and what they read is suspect: each time one of it is left out of the grammar, and the model says what it holds for next best.
    `wide`: the drafts that there are do not decide it, and the other personas and seeds write as many more as the plan allows.
    """

    def of(persona: str, samplings: list[Sampling], without: str = "") -> tuple[str, Generate]:
        voice, manner = commission.personas[persona], commission.manner(persona)
        prompt, system = commission.prompt(persona, plan.prompt), commission.system(persona, plan.prompt)
        return persona, Generate(
            id=identifier(persona),
            model=voice.model,
            adapter=voice.adapter or None,
            adapter_name=voice.adapter_name,
            prompt=prompt.removeprefix(f"{system}\n") if system else prompt,
            samplings=samplings,
            max_tokens=manner.tokens(plan.max_tokens),
            grammar=commission.grammar(persona, without),
            chat=plan.chat or manner.chat,
            system=system,
            stream=True,
            logprobs=True,
            priority=priority_of(request.session),
            session=request.session,
            deadline_ms=deadline_ms,
        )

    names = list(commission.personas)
    if wide:
        share = plan.most - sum(draft.times for draft in drafts)
        number = seed % 2**31 + 64  # past the seeds of the rounds before
        for persona, count in stages.split(share, [*names[1:], names[0]]):
            greedy = persona != names[0]  # the first one's is there
            warm = [Sampling(temperature=plan.temperature, top_p=0.95, seed=number + offset) for offset in range(greedy, count)]
            number += count
            for begin in range(0, len(samplings := [*([Sampling()] if greedy else []), *warm]), SAMPLINGS):
                yield of(persona, samplings[begin : begin + SAMPLINGS])
        return
    suspects = stages.read_by(drafts)[: plan.drafts]
    if rounds and suspects:
        persona = next(iter(commission.personas))
        yield from (of(persona, [Sampling()], suspect) for suspect in suspects)
        return
    first = seed % 2**31 + rounds * plan.drafts
    temperature = min(2.0, plan.temperature + WARMER * rounds)
    samplings = [Sampling(temperature=temperature, top_p=0.95, seed=first + number) for number in range(plan.drafts)]
    yield of(names[0], samplings if rounds else [Sampling(), *samplings[1:]])


def thought_request(voice: Voice, thought: Asked, identifier: str, session: str) -> Generate:
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


def drafts_of(signature: str, persona: str, samplings: Sequence[Sampling], answer: Completed, guided: bool = True) -> list[Draft]:
    """The model's answers as drafts: the signature and the body; `guided`: a grammar held them, and they are nothing else."""
    texts = [
        (f"{signature}\n{output.text.rstrip()}\n", "") if guided else answers.written(signature, output.text) for output in answer.outputs
    ]
    return [
        Draft(
            source=source,
            persona=persona,
            seed=sampling.seed,
            temperature=sampling.temperature,
            logprob=output.logprob,
            least=min(output.logprobs, default=output.logprob),
            tokens=output.tokens,
            mode=answer.mode or "base",
            endpoint=answer.endpoint,
            endpoint_model=answer.endpoint_model,
            why=why if output.finish == "stop" else "cut off at the longest answer",
        )
        for sampling, output, (source, why) in zip(samplings, answer.outputs, texts, strict=False)
    ]
