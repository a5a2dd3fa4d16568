"""What a message is drafted with: voices (model and adapter of each persona) and the grammar of the answer. Inside a transaction."""

from collections.abc import Callable

from deploy.settings import UvmSettings
from uvm.errors import ImageError
from uvm.generation.manner import Manner, manner_of
from uvm.generation.questions import Commission, Voice
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Plan
from uvm.generation.vocabulary import vocabulary
from uvm.image import prompts, revocations, views
from uvm.image.authors import Author
from uvm.image.image import Image
from uvm.image.message_object import parameters_of
from uvm.objects import UvmObject
from uvm.protocol import Reference

Materialize = Callable[[UvmObject, str], None]
"""Makes the files of a `model` or an `adapter` available to the inference worker."""


class NoModel(ImageError):
    """The image has no model to think with."""


def commission(image: Image, request: MethodRequest, plan: Plan, materialize: Materialize, settings: UvmSettings) -> Commission:
    """Voices and texts of the personas that the image's plan names, and the grammar. Raises NoSuchObject, NoModel, Revoked.

    A persona that is revoked is not asked; where all of them are, nobody is.
    """
    trusted = [persona for persona in plan.personas if revocations.find(image, Author("persona", persona)) is None]
    if not trusted:
        revocations.check(image, Author("persona", plan.personas[0]))
    named = {persona: image.named(persona) for persona in trusted}
    voices = {persona: voice_of(image, owner._p_oid, materialize) for persona, owner in named.items()}
    covenants = {persona: prompts.in_force(image, owner).text for persona, owner in named.items()}
    manners = {persona: _manner(image, owner, settings) for persona, owner in named.items()}
    names = vocabulary(image, request)
    return Commission(
        personas=voices,
        slots=names.slots,
        selectors=names.selectors,
        parameters=parameters_of(request.positional, list(request.kwargs)),
        covenant=request.covenant,
        covenants=covenants,
        manners=manners,
        new=names.new,
        fields=names.fields,
    )


def _manner(image: Image, persona: UvmObject, settings: UvmSettings) -> Manner:
    template = prompts.has_chat_template(persona)
    adapter = prompts.adapter_of(image, persona) is not None
    large = prompts.is_large(image, persona)
    return manner_of(large=large, template=template, adapter=adapter, chat=settings.chat, grammar=settings.grammar)


def voice_of(image: Image, persona: bytes, materialize: Materialize) -> Voice:
    """Model and adapter that an object has or inherits; their files are made available to the worker. Raises NoModel, BadValue.

    An adapter that is revoked is passed by: the next one up the chain of parents speaks. One of another model, or removed, is left out: the
    model then speaks as it is.
    """
    speaker = image.at(Reference(persona))
    model = views.nearest(speaker, "model", "model")
    adapter = revocations.trusted_adapter(image, speaker)
    if model is None:
        raise NoModel(
            f"{speaker.lookup('name') or persona.hex()} has no model",
            "the image was awakened without one: batos up imports the default model",
        )
    thinks = views.weights(model, "model")
    if thinks.state == "removed":
        raise NoModel(f"the model {thinks.name} was removed from the image", "batos model use another one, or import it again")
    materialize(model, "model")
    if adapter is None:
        return Voice(thinks.digest)
    speaks = views.weights(adapter, "adapter")
    if not speaks.serves(thinks.digest):
        return Voice(thinks.digest)
    materialize(adapter, "adapter")
    return Voice(thinks.digest, speaks.digest, speaks.name)
