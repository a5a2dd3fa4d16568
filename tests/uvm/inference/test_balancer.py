"""Several inference workers: which one is asked, and that a question outlives the worker that had it."""

import json
import signal
import time

import pytest
import zmq

from deploy.settings import Configuration, Home, InferenceSettings, Settings, SettingsError
from inference_worker.protocol import (
    AskHealth,
    CancelRequest,
    Completed,
    Delta,
    Generate,
    Health,
    Output,
    RequestFailed,
    Sampling,
    WorkerBusy,
    decode_request,
    encode,
)
from tests.inference_worker import files
from tests.inference_worker.service import running_worker
from uvm.inference.balancer import SPREAD, Worker, choose, endpoints
from uvm.inference.client import InferenceClient

MODEL, ADAPTER, OTHER = "a" * 64, "b" * 64, "c" * 64
_UNTIL_S = 60.0


def health(adapters=(), waiting=0, running=0, streams=16, incarnation="one", model=MODEL, engine="ready", **more):
    return Health("h", engine, True, model, list(adapters), waiting, running, 1, incarnation=incarnation, streams=streams, **more)


def worker(name="w", *, at=100.0, asked_at=None, sent=0, **facts):
    return Worker(f"ipc://{name}", health(**facts), at, asked_at, sent)


def question(adapter=ADAPTER):
    return Generate(id="q", model=MODEL, prompt="p", adapter=adapter)


# --- the choice ------------------------------------------------------------------------------------------------------


def test_the_worker_that_has_the_adapter_in_memory_is_asked():
    workers = [worker("x"), worker("y", adapters=[OTHER, ADAPTER]), worker("z")]
    assert choose(question(), workers, 100.0) == 1


def test_the_adapters_worker_is_asked_until_its_load_is_worse_by_the_bound():
    def chosen(running):
        return choose(question(), [worker("x", adapters=[ADAPTER], running=running), worker("y")], 100.0)

    assert chosen(int(16 * SPREAD)) == 0
    assert chosen(int(16 * SPREAD) + 1) == 1


def test_load_counts_by_streams_and_with_what_was_sent_since():
    small, large = worker("x", running=4, streams=4), worker("y", running=8, streams=32)
    assert choose(question(None), [small, large], 100.0) == 1
    assert choose(question(None), [worker("x", sent=3), worker("y", sent=2)], 100.0) == 1


def test_an_adapter_that_nobody_has_goes_to_the_same_worker_from_everywhere_and_adapters_are_spread():
    workers = [worker(name) for name in "xyz"]
    chosen = [choose(question(f"{number:064x}"), workers, 100.0) for number in range(60)]
    assert chosen == [choose(question(f"{number:064x}"), workers, 100.0) for number in range(60)]
    assert all(chosen.count(number) >= 10 for number in range(3))
    without_x = [choose(question(f"{number:064x}"), workers, 100.0, without={0}) for number in range(60)]
    assert all(one == other for one, other in zip(chosen, without_x, strict=True) if one != 0), "only what x had moves"


def test_silent_workers_are_left_out_and_come_back_with_their_health():
    silent = worker("x", adapters=[ADAPTER], asked_at=100.0)
    assert choose(question(), [silent, worker("y")], 102.0) == 0
    assert choose(question(), [silent, worker("y")], 103.5) == 1
    assert choose(question(), [silent], 103.5) is None
    assert choose(question(), [worker("x", adapters=[ADAPTER], at=103.5), worker("y", at=103.5)], 103.6) == 0


def test_a_worker_that_was_never_asked_is_no_silent_one():
    assert choose(question(), [Worker("ipc://x")], 1000.0) == 0


def test_a_loaded_engine_is_preferred_to_one_that_would_have_to_start():
    assert choose(question(None), [worker("x", model=""), worker("y", running=2)], 100.0) == 1


def test_addresses_of_further_workers_are_checked_and_each_is_asked_once(tmp_path):
    def addresses(*workers):
        settings = Settings(inference=InferenceSettings(address="ipc://a", workers=list(workers)))
        return endpoints(Configuration(Home(tmp_path), settings, {}))

    assert addresses("tcp://there:5555", "ipc://a") == ["ipc://a", "tcp://there:5555"]
    with pytest.raises(SettingsError, match=r"there:5555.*allowed"):
        addresses("there:5555")


# --- questions, with workers that the test plays ---------------------------------------------------------------------


class Played:
    """A worker's socket; the test says what it answers."""

    def __init__(self, context, endpoint):
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(endpoint)
        self.client = b""

    def hear(self, kind):
        """The next request of that kind; others are passed over."""
        until = time.monotonic() + 10
        while self.socket.poll(max(0, int((until - time.monotonic()) * 1000))):
            self.client, frame = self.socket.recv_multipart()
            request = decode_request(frame)
            if isinstance(request, kind):
                return request
        raise TimeoutError(kind.__name__)

    def hears_nothing(self, kind):
        while self.socket.poll(50):
            assert not isinstance(decode_request(self.socket.recv_multipart()[1]), kind)
        return True

    def say(self, answer):
        self.socket.send_multipart([self.client, encode(answer)])


class Stage:
    """A client and its played workers."""

    def __init__(self, count, directory):
        self.context = zmq.Context()
        self.directory = directory
        endpoints = [f"ipc://{directory}/{number}" for number in range(count)]
        self.workers = [Played(self.context, endpoint) for endpoint in endpoints]
        self.client = InferenceClient(self.context, endpoints)
        self.answers = []

    def ask(self, **options):
        self.client.ask(Generate(id="q", model=MODEL, prompt="p", deadline_ms=100_000, **options), 100.0, self.answers.append)

    def hear(self):
        """Let the client take what was said to it."""
        poller = zmq.Poller()
        for socket in self.client.sockets:
            poller.register(socket, zmq.POLLIN)
        assert poller.poll(10_000)
        self.client.receive()

    def meet(self, number, **facts):
        """A round of health between the client and one worker."""
        self.workers[number].hear(AskHealth)
        self.workers[number].say(health(**facts))
        self.hear()

    def close(self):
        self.client.close()
        for one in self.workers:
            one.socket.close()
        self.context.term()


@pytest.fixture
def stage(tmp_path):
    made = []

    def make(count):
        made.append(Stage(count, tmp_path))
        return made[0]

    yield make
    for one in made:
        one.close()


def completed(text="yes"):
    return Completed("q", [Output(text, 1, -0.1, "stop")], 3, 0.0, 0.1)


def test_the_questions_of_a_worker_that_falls_silent_are_answered_by_another(stage):
    one = stage(2)
    now = time.monotonic()
    one.ask()
    one.workers[0].hear(Generate)
    one.client.tick(now)
    one.meet(1)
    one.client.tick(now + 2.9)
    assert one.workers[1].hears_nothing(Generate)
    one.client.tick(now + 3.1)
    assert one.workers[1].hear(Generate).id == "q"
    assert one.workers[0].hear(CancelRequest).id == "q"
    one.workers[1].say(completed())
    one.hear()
    assert one.answers == [completed()]


def test_a_worker_that_writes_but_is_slow_to_say_how_it_is_keeps_its_questions(stage):
    one = stage(2)
    now = time.monotonic()
    one.ask()
    one.workers[0].hear(Generate)
    one.client.tick(now)
    one.meet(1)
    one.workers[0].say(Delta("q", 0, "ye"))
    one.hear()
    one.client.tick(now + 3.1)
    one.client.tick(now + 6.0)
    assert one.workers[1].hears_nothing(Generate) and one.workers[0].hears_nothing(CancelRequest)


def test_whoever_lets_others_go_first_hears_of_them(stage):
    one = stage(1)
    assert not one.client.crowded(0)
    one.ask()
    assert one.client.crowded(0) and not one.client.crowded(1)
    one.client.tick(time.monotonic())
    one.workers[0].hear(Generate)
    one.meet(0, running=1)
    assert not one.client.crowded(1)
    one.client.tick(time.monotonic() + 2)
    one.meet(0, running=2)  # another process's question
    assert one.client.crowded(1)


def test_an_answer_of_the_worker_that_was_given_up_counts_and_the_other_is_told(stage):
    one = stage(2)
    now = time.monotonic()
    one.ask()
    one.workers[0].hear(Generate)
    one.client.tick(now)
    one.meet(1)
    one.client.tick(now + 3.1)
    one.workers[1].hear(Generate)
    one.workers[0].say(completed("late"))
    one.hear()
    assert one.answers == [completed("late")] and one.workers[1].hear(CancelRequest).id == "q"


def test_a_question_says_what_it_waits_for_until_the_engine_is_there(tmp_path):
    """The worker itself comes up later than the question is asked."""
    with zmq.Context() as context:
        client = InferenceClient(context, [f"ipc://{tmp_path}/0"])
        now = time.monotonic()
        client.ask(Generate(id="q", model=MODEL, prompt="p"), 100.0, lambda answer: None)
        client.tick(now)
        assert client.waits_for("q", now + 0.5) == "", "a worker that is there answers within a second"
        assert client.waits_for("q", now + 34) == "the inference worker does not answer, 34 s so far"
        worker = Played(context, f"ipc://{tmp_path}/0")
        for facts, expected in (
            (
                {"engine": "starting", "starting_s": 34.2, "step": "loading the model"},
                "the engine is starting, 34 s so far; loading the model",
            ),
            ({"engine": "starting", "starting_s": 50.0}, "the engine is starting, 50 s so far"),
            ({"engine": "failed", "detail": "no memory"}, "the engine failed: no memory"),
            ({"engine": "ready"}, ""),
        ):
            client.tick(now := now + 5)
            worker.hear(AskHealth)
            worker.say(health(**facts))
            assert client.sockets[0].poll(10_000)
            client.receive()
            assert client.waits_for("q", time.monotonic()) == expected
        assert client.waits_for("another", now) == ""
        client.close()
        worker.socket.close()


def test_a_busy_worker_is_left_for_the_next_one_at_once(stage):
    one = stage(2)
    one.ask()
    one.workers[0].hear(Generate)
    one.workers[0].say(WorkerBusy("q", 60_000))
    one.hear()
    assert one.workers[1].hear(Generate).id == "q"


def test_when_all_are_busy_the_first_that_may_have_room_is_asked_again(stage):
    one = stage(2)
    one.ask()
    one.workers[0].hear(Generate)
    one.workers[0].say(WorkerBusy("q", 60_000))
    one.hear()
    one.workers[1].hear(Generate)
    one.workers[1].say(WorkerBusy("q", 5_000))
    one.hear()
    one.client.tick(time.monotonic() + 4.0)
    assert one.workers[1].hears_nothing(Generate)
    one.client.tick(time.monotonic() + 6.0)
    assert one.workers[1].hear(Generate).id == "q" and one.workers[0].hears_nothing(Generate)


def test_what_one_worker_does_not_have_another_is_asked_for_and_the_last_failure_is_the_answer(stage):
    one = stage(2)
    one.ask()
    for number in range(2):
        one.workers[number].hear(Generate)
        assert not one.answers
        one.workers[number].say(RequestFailed("q", "UnknownModel", f"not at {number}"))
        one.hear()
    assert one.answers == [RequestFailed("q", "UnknownModel", "not at 1")]


def test_what_was_answered_is_no_load_any_more(stage):
    one = stage(2)
    home = choose(question(), [Worker(f"ipc://{one.directory}/{number}") for number in range(2)], 0.0)
    for _ in range(40):
        one.ask(adapter=ADAPTER)
        one.workers[home].hear(Generate)
        one.workers[home].say(completed())
        one.hear()
    assert len(one.answers) == 40 and one.workers[1 - home].hears_nothing(Generate)


def test_one_worker_alone_is_waited_for_until_the_deadline(stage):
    one = stage(1)
    now = time.monotonic()
    one.ask()
    one.workers[0].hear(Generate)
    one.client.tick(now)
    one.client.tick(now + 50.0)
    assert one.workers[0].hears_nothing(Generate | CancelRequest) and not one.answers
    one.client.tick(now + 101.0)
    assert one.answers[0].type == "DeadlineExceeded"


def test_a_worker_that_was_replaced_is_asked_again(stage):
    one = stage(1)
    now = time.monotonic()
    one.ask()
    one.workers[0].hear(Generate)
    one.client.tick(now)
    one.meet(0, incarnation="one")
    one.client.tick(now + 1.1)
    one.meet(0, incarnation="two")
    assert one.workers[0].hear(Generate).id == "q"
    one.client.tick(now + 2.2)
    one.meet(0, incarnation="two")
    assert one.workers[0].hears_nothing(Generate)


def test_a_question_that_comes_back_to_a_worker_is_not_ended_by_its_own_cancellation(stage):
    one = stage(2)
    now = time.monotonic()
    one.ask()
    one.workers[0].hear(Generate)
    one.client.tick(now)
    one.meet(1)
    one.client.tick(now + 3.1)
    one.workers[0].hear(CancelRequest)
    one.workers[0].say(health())
    one.hear()
    one.workers[1].hear(Generate)
    one.workers[1].say(WorkerBusy("q", 60_000))
    one.hear()
    assert one.workers[0].hear(Generate).id == "q"
    one.workers[0].say(RequestFailed("q", "Cancelled", "as you said"))
    one.hear()
    assert not one.answers
    one.client.tick(time.monotonic() + 1.5)
    assert one.workers[0].hear(Generate).id == "q"


# --- questions, with real workers ------------------------------------------------------------------------------------


def test_a_killed_workers_questions_are_answered_by_the_other_one(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"rules": [{"contains": "slow", "delay_s": 1.0, "text": "late"}], "default": "soon"}))
    homes = [tmp_path / "one", tmp_path / "two"]
    (model,) = {files.put(files.toy_model(home / "source" / "model"), home / "models") for home in homes}
    arguments = ("--engine", "fake", "--script", str(script))
    with running_worker(homes[0], *arguments) as first, running_worker(homes[1], *arguments) as second:
        workers = [first, second]
        for one in workers:
            with one.client() as client:
                assert client.health(_UNTIL_S).incarnation
        context = zmq.Context()
        asking = InferenceClient(context, [one.endpoint for one in workers])
        answers = {}
        poller = zmq.Poller()
        for socket in asking.sockets:
            poller.register(socket, zmq.POLLIN)

        def until(done):
            end = time.monotonic() + _UNTIL_S
            while not done():
                assert time.monotonic() < end, sorted(answers)
                poller.poll(20)
                asking.receive()
                asking.tick(time.monotonic())

        def ask(number, prompt):
            generate = Generate(id=f"q{number}", model=model, prompt=prompt, samplings=[Sampling()])
            asking.ask(generate, _UNTIL_S, lambda answer: answers.setdefault(answer.id, []).append(answer))

        try:
            for number in range(8):
                ask(number, "slow")
            workers[0].process.send_signal(signal.SIGKILL)
            until(lambda: len(answers) == 8)
            assert {answer.outputs[0].text for told in answers.values() for answer in told} == {"late"}
            assert all(len(told) == 1 for told in answers.values())
            ask(8, "quick")
            until(lambda: "q8" in answers)
        finally:
            asking.close()
            context.term()


def test_a_question_that_waited_for_the_next_worker_and_is_asked_again_of_it_has_the_one_answer(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"rules": [{"contains": "slow", "delay_s": 1.0, "text": "late"}], "default": "soon"}))
    home = tmp_path / "home"
    model = files.put(files.toy_model(home / "source" / "model"), home / "models")
    arguments = ("--engine", "fake", "--script", str(script))
    context = zmq.Context()
    answers = []
    poller = zmq.Poller()

    def ask(prompt, wanted):
        generate = Generate(id=prompt, model=model, prompt=prompt, deadline_ms=int(_UNTIL_S * 1000))
        asking.ask(generate, _UNTIL_S, answers.append)
        end = time.monotonic() + _UNTIL_S
        while len(answers) < wanted:
            assert time.monotonic() < end
            poller.poll(20)
            asking.receive()
            asking.tick(time.monotonic())

    with running_worker(home, *arguments) as first:
        asking = InferenceClient(context, [first.endpoint])
        poller.register(asking.sockets[0], zmq.POLLIN)
        try:
            ask("slow and known", 1)
            first.kill()
            with running_worker(home, *arguments) as again, again.client() as other:
                ask("slow and new", 2)
                assert [one.outputs[0].text for one in answers] == ["late", "late"]
                assert other.completed(model, "quick").outputs[0].text == "soon"
        finally:
            asking.close()
            context.term()
