"""The event model as it is asked: its prompt, the picture it read last, its words as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from crossdraft.base.clock import Spans
from crossdraft.decoding.last_picture import LastPicture
from crossdraft.decoding.models import prompt_of
from crossdraft.vlm.drafting import Arrival, Follower
from crossdraft.vlm.target import Target


class EventModel:
    """Answers about one scene after another; the last one's picture is kept."""

    def __init__(self) -> None:
        self._model: Target | None = None
        self._picture = LastPicture()

    def of(self, model: Target) -> EventModel:
        """Itself, asking this model; the picture of another one is forgotten."""
        if model is not self._model:
            self._picture.forget()
            self._model = model
        return self

    @property
    def eos_ids(self) -> frozenset[int]:
        """Ids that end its answers."""
        return self._named().eos_ids

    def answer(
        self, scene: Any, question: str | Sequence[int], most: int, spans: Spans
    ) -> Iterator[Arrival]:
        """Its own greedy answer as it comes, arrivals from the origin of `spans`.

        Raises:
            InputError: the scene or the question cannot be read.
        """
        reading = self.reading(scene, question, spans)
        yield from reading.speak(most, self.eos_ids, spans.origin_ms)

    def reading(self, scene: Any, question: str | Sequence[int], spans: Spans) -> Follower:
        """The model with the question read: it can speak, and follow.

        Raises:
            InputError: the scene or the question cannot be read.
        """
        model = self._named()
        prompt = prompt_of(model, scene, question)
        return Follower(self._picture.session(model, scene, prompt, spans), prompt)

    def _named(self) -> Target:
        if self._model is None:
            raise RuntimeError("no model was named")
        return self._model

    def forget(self) -> None:
        """Give the picture's memory back, and do not hold the model."""
        self._picture.forget()
        self._model = None
