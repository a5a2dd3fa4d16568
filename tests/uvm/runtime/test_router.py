"""The router: what it learns, from whom, how it merges, and that the image's own rule decides."""

import math
from collections import Counter as Tally
from random import Random

import msgspec
import pytest

from inference_worker.protocol import Output
from tests.uvm.houses import make_shop, offer
from tests.uvm.images import Bench, awakened
from tests.zeo_server.server import running_server
from uvm.generation.learning import HELD, Learner
from uvm.image.entropy import spoken_by
from uvm.image.image import Database, Image
from uvm.image.journal import spoken_in_drafts, tallies
from uvm.image.transactor import Transactor
from uvm.objects import Counter, MergingVector, UvmObject
from uvm.protocol import Reference
from uvm.runtime import router
from uvm.runtime.router import ENOUGH, Facts, drawn, features, kind, learn, probabilities, ranked, weights, words


def facts(selector, arity=0, **slots):
    return Facts(selector, slots or {"name": "text"}, arity)


def taught(*lessons, rounds=ENOUGH):
    """A router that was told of each message whose drafts will do, and that the others' will not."""
    known = router.new([])
    everybody = list(dict.fromkeys(persona for _, persona in lessons))
    for _ in range(rounds):
        for selector, persona in lessons:
            learn(known, facts(selector), [persona], True)
            learn(known, facts(selector), [other for other in everybody if other != persona], False)
    return known


LESSONS = (("show_card", "robin"), ("total_of_all", "babs"), ("rename", "brick"))


def test_a_router_says_nothing_before_it_has_seen_enough():
    known = taught(LESSONS[0], rounds=ENOUGH - 1)
    assert ranked(known, facts("show_card")) == [] == drawn(known, facts("show_card"))
    learn(known, facts("show_card"), ["robin"], True)
    assert ranked(known, facts("show_card"))[0][0] == "robin"


def test_it_ranks_the_persona_whose_drafts_were_accepted_first_and_chances_add_up():
    known = taught(*LESSONS)
    for selector, persona in LESSONS:
        found = ranked(known, facts(selector))
        assert found[0][0] == persona and found[0][1] > 0.8
        assert sum(chance for _, chance in found) == pytest.approx(1.0)


def test_what_it_learned_of_one_things_words_holds_for_another_things():
    known = router.new([])
    for _ in range(20):
        for thing in ("apple", "horse", "brick"):
            learn(known, facts(f"count_{thing}s", **{f"{thing}s": "list"}), ["babs"], True)
            learn(known, facts(f"add_{thing}", 1, **{f"{thing}s": "list"}), ["brick"], True)
    assert ranked(known, facts("count_lanterns", lanterns="list"))[0][0] == "babs"
    assert ranked(known, facts("addLantern", 1, lanterns="list"))[0][0] == "brick"


def test_refusals_speak_for_the_others():
    known = taught(*LESSONS)
    before = dict(ranked(known, facts("show_total")))
    for _ in range(5):
        learn(known, facts("show_total"), ["robin"], False)
    after = dict(ranked(known, facts("show_total")))
    assert after["robin"] < before["robin"] / 2 and after["babs"] > before["babs"]


def test_a_lesson_changes_those_alone_who_were_asked_and_follows_the_gradient_of_what_became_of_it():
    known = taught(*LESSONS)
    found, before = features(facts("show_card")), {name: vector.copied() for name, vector in weights(known).items()}
    for accepted in (True, False):
        chance = 1 / (1 + math.exp(-router.score(weights(known)["babs"], found)))
        start = weights(known)["babs"].copied().numbers
        learn(known, facts("show_card"), ["babs"], accepted)
        for at, value in found.items():
            moved = (weights(known)["babs"].numbers[at] - start[at]) / router.SCALE
            assert moved == pytest.approx(router.RATE * (accepted - chance) * value, abs=1 / router.SCALE)
    assert all(weights(known)[name].plain() == before[name].plain() for name in ("robin", "brick"))


def test_chances_are_the_softmax_of_scores_and_a_share_is_even():
    known = taught(*LESSONS)
    found = features(facts("show_total_of_all", 2))
    dense = [found.get(at, 0.0) for at in range(router.WIDTH)]
    dots = [sum(a * b for a, b in zip(vector.numbers, dense, strict=True)) / router.SCALE for vector in weights(known).values()]
    powers = [math.exp(router.SHARPNESS * min(router.PRIOR + dot, router.SURE)) for dot in dots]
    expected = [0.8 * power / sum(powers) + 0.2 / 3 for power in powers]
    assert list(probabilities(weights(known), found, 0.2).values()) == pytest.approx(expected)


def test_who_is_asked_first_is_drawn_by_these_chances_and_the_same_until_the_next_lesson():
    known = taught(*LESSONS)
    for _ in range(3):
        learn(known, facts("peek"), ["robin", "babs"], True)
    chances, firsts = dict(ranked(known, facts("peek"), 0.3)), Tally()
    for number in range(4000):
        order = drawn(known, facts("peek", number % 7, **{f"slot{number}": "text"}), 0.3)
        chances = dict(order)
        firsts[order[0][0]] += 1
        assert [chance for _, chance in order[1:]] == sorted((chance for _, chance in order[1:]), reverse=True)
        assert sum(chances.values()) == pytest.approx(1.0)
    same = [drawn(known, facts("peek")) for _ in range(5)]
    assert all(order == same[0] for order in same) and set(firsts) == set(chances)


# --- what becomes of whom it asks ---------------------------------------------------------------------------------------

WORDS = ["total_price", "show_card", "rename", "count_of_tags", "is_heavy", "add_tag", "longest_name", "describe", "average_cost", "peek"]


def lived(success, exploration=router.EXPLORATION, intervals=10, length=200):
    """Whom a router asks first, interval by interval, where a persona's drafts do with a probability of its own."""
    known, rng, asked = router.new(success), Random(5), [Tally() for _ in range(intervals)]
    for number in range(intervals * length):
        sent = facts(f"{rng.choice(WORDS)}_{rng.choice(WORDS)}", rng.randrange(3), **{rng.choice(WORDS): "number"})
        order = drawn(known, sent, exploration)
        first = order[0][0] if order else "brick"
        asked[number // length][first] += 1
        learn(known, sent, [first], rng.random() < success[first])
    return asked


def evenness(asked):
    """The entropy of whom was asked, as a share of the largest possible one."""
    shares = [count / asked.total() for count in asked.values()]
    return -sum(share * math.log(share) for share in shares) / math.log(4)


@pytest.mark.parametrize("chance", [0.6, 0.9, 1.0])
def test_personas_that_are_equally_good_go_on_being_asked(chance):
    asked = lived(dict.fromkeys(("robin", "brick", "babs", "alfred"), chance))
    assert min(map(evenness, asked[1:])) > 0.8, [dict(interval) for interval in asked]


def test_one_that_is_better_is_asked_mostly_and_the_price_of_exploring_is_bounded():
    asked = lived(dict.fromkeys(("robin", "brick", "alfred"), 0.4) | {"babs": 0.95})
    shares = [interval["babs"] / interval.total() for interval in asked]
    assert min(shares[3:]) > 0.7, shares
    assert max(map(evenness, asked[3:])) < 0.7
    bounded = lived(dict.fromkeys(("robin", "brick", "alfred"), 0.0) | {"babs": 1.0})
    others = [1 - interval["babs"] / interval.total() for interval in bounded[3:]]
    assert max(others) < 1.5 * router.EXPLORATION and min(others) > 0, "and nobody is forgotten"


def test_one_that_becomes_worse_is_asked_less():
    known = router.new(["brick", "babs"])
    for _ in range(100):
        learn(known, facts("rename"), ["brick"], True)
        learn(known, facts("rename"), ["babs"], True)
    before = dict(ranked(known, facts("rename")))
    for _ in range(3):
        learn(known, facts("rename"), ["brick"], False)
    assert before["brick"] == pytest.approx(0.5) and dict(ranked(known, facts("rename")))["brick"] < 0.2


def test_words_are_found_in_either_style_and_kinds_in_literals():
    assert words("addTwoAppleTrees_") == words("add_two_apple_trees") == ["add", "two", "apple", "trees"]
    literals = ("[1, …]", "{'a': 1}", "'x'", "True", "None", "-3.5", "<object>", "<method>")
    assert [kind(one) for one in literals] == ["list", "dict", "text", "flag", "none", "number", "<object>", "<method>"]


def test_a_routers_state_is_bounded_in_size_and_personas():
    known = router.new([])
    for number in range(2 * router.MOST):
        learn(known, facts(f"selector_{number}"), [f"persona{number}"], True)
    assert len(weights(known)) == router.MOST
    for vector in weights(known).values():
        vector.add(dict.fromkeys(range(router.WIDTH), 10**9))
        assert max(vector.numbers) == 32_767 and len(vector.__getstate__()) < 2 * router.WIDTH


# --- merging ---------------------------------------------------------------------------------------------------------


def test_what_two_processes_add_to_a_vector_adds_up():
    base = MergingVector(8)
    base.add({0: 5, 1: -2})
    ours, theirs = base.copied(), base.copied()
    ours.add({0: 10, 2: 7})
    theirs.add({0: -1, 7: 3})
    assert base.merged(theirs, ours).plain() == {0: 14, 1: -2, 2: 7, 7: 3}


def test_what_two_uvms_learn_at_once_merges_on_the_server(tmp_path):
    with running_server(tmp_path) as server:
        databases = [server.client(Database), server.client(Database)]
        with awakened(databases[0]) as here:
            there = Image(databases[1])
            message = reified(here, "show_card")
            first = Learner(here, Transactor(here, "uvm-1"), "uvm-1")
            there.manager.begin()
            known = there.root["router"]
            learn(known, facts("rename"), ["brick"], True)
            ours = {name: vector.plain() for name, vector in weights(known).items()}
            first.accepted(message, ["robin"])
            first.tick(1.0)
            there.manager.commit()
            here.manager.begin()
            assert here.root["router"].own("examples").plain() == 2
            theirs = router.new(ours)
            learn(theirs, router.facts_of(here.at(Reference(message))), ["robin"], True)
            for name, vector in weights(here.root["router"]).items():
                added = MergingVector(router.WIDTH)
                added.add(ours[name])
                added.add(weights(theirs)[name].plain())
                assert vector.plain() == added.plain()
            here.manager.abort()
            there.close()


def reified(image: Image, selector: str) -> bytes:
    """A message object as the image keeps it."""
    image.manager.begin()
    message = UvmObject({"is*": "message", "selector": selector, "slots": [["name", "'x'"]], "signature": f"def {selector}(self):"})
    image.shard("messages", selector).put(selector, message)
    oid = image.reference(message).oid
    image.manager.commit()
    return oid


def test_lessons_that_nobody_takes_in_are_bounded():
    with awakened() as image:
        message = reified(image, "show_card")
        learner = Learner(image, Transactor(image, "uvm-1"), "uvm-1")
        for _ in range(HELD + 100):
            learner.accepted(message, ["robin"])
        learner.tick(1.0)
        image.manager.begin()
        assert image.root["router"].own("examples").plain() == HELD


# --- in the image ----------------------------------------------------------------------------------------------------


def learned(image):
    image.manager.begin()
    try:
        return image.root["router"].own("examples").plain()
    finally:
        image.manager.abort()


def plan_of(one, message):
    one.image.manager.begin()
    try:
        return one.image.target(message).own("plan")
    finally:
        one.image.manager.abort()


def teach(image, *lessons, rounds=ENOUGH, others=("robin", "brick", "babs", "alfred")):
    """Tell the image's router whose drafts will do, and that those of these others will not."""
    image.manager.begin()
    for _ in range(rounds):
        for selector, persona in lessons:
            sent = facts(selector, name="text", cost="number", pieces="number", tags="list")
            learn(image.root["router"], sent, [persona], True)
            learn(image.root["router"], sent, [other for other in others if other != persona], False)
    image.manager.commit()


def test_an_accepted_draft_a_removed_method_and_a_refusal_are_lessons(build_house):
    house = build_house(worth=["    return self.cost"], broken=["    return self.cost / 0"])
    shop = make_shop(house)
    house.send(shop, "worth")
    house.writers.tick(1e9)
    assert learned(house.image) == 1
    house.send(shop, "broken")
    house.writers.tick(2e9)
    assert learned(house.image) == 2
    offer(house, shop, "worth", "def worth(self):\n    return self.cost * 2\n", session="t", seq=1)
    house.writers.tick(3e9)
    assert learned(house.image) == 3, "a tool has corrected the persona"


def test_removing_a_generated_method_tells_who_wrote_it_and_for_what(build_house):
    house = build_house(worth=["    return self.cost"])
    shop = make_shop(house)
    house.send(shop, "worth")
    message = house.send(shop, "explain_", "worth")["proof"]["message"]
    outcome = house.bench.send(shop, "removeSlot_", "worth")
    assert [(str(Reference(oid)), author) for oid, author in outcome.taken_back] == [(message, "brick")]
    house.bench.install("genesis_obj", "own_one", "def own_one(self):\n    return 1\n")
    assert house.bench.send("genesis_obj", "removeSlot_", "own_one").taken_back == []


def test_before_the_router_knows_the_words_decide_and_afterwards_it_does_and_the_message_says_why(build_house):
    house = build_house(**{"*": ["    return 1"]})
    shop = make_shop(house)
    house.send("pLLM_obj", "setSlot_value_", "exploration", 0)
    house.send(shop, "total_view")
    cold = plan_of(house, house.send(shop, "explain_", "total_view")["proof"]["message"])
    assert cold["personas"] == ["robin"] and cold["routed"] == []
    teach(house.image, ("total_of_all", "alfred"), ("rename", "brick"))
    house.send(shop, "total_of_all")
    warm = plan_of(house, house.send(shop, "explain_", "total_of_all")["proof"]["message"])
    assert warm["personas"] == ["alfred"] and warm["routed"][0][0] == "alfred" and warm["routed"][0][1] > 0.9


def test_an_unsure_router_lets_two_personas_compete(build_house):
    house = build_house(**{"*": ["    return 1"]})
    shop = make_shop(house)
    teach(house.image, ("peek", "robin"), ("rename", "brick"))
    teach(house.image, ("peek", "babs"), others=("brick", "alfred"))
    house.send("pLLM_obj", "setSlot_value_", "exploration", 0)
    house.send(shop, "peek")
    plan = plan_of(house, house.send(shop, "explain_", "peek")["proof"]["message"])
    assert len(plan["personas"]) == 2 and {"babs", "robin"} & set(plan["personas"])


@pytest.mark.parametrize(("share", "explored"), [(1, 1.0), (0.0, 0.0), ("much", router.EXPLORATION), (7, router.EXPLORATION)])
def test_the_share_that_is_explored_is_data_of_the_image(build_house, share, explored):
    house = build_house(worth=["    return self.cost"])
    shop = make_shop(house)
    teach(house.image, ("worth", "robin"))
    house.send("pLLM_obj", "setSlot_value_", "exploration", share)
    house.send(shop, "worth")
    routed = plan_of(house, house.send(shop, "explain_", "worth")["proof"]["message"])["routed"]
    assert min(chance for _, chance in routed) == pytest.approx(explored / len(routed), abs=0.02)


def test_the_rule_in_the_image_is_replaced_by_a_message(build_house):
    house = build_house(worth=["    return self.cost"])
    shop = make_shop(house)
    teach(house.image, ("worth", "robin"))
    house.bench.install("pLLM_obj", "personasFor_", "def personasFor_(self, message):\n    return ['alfred']\n", 1)
    house.send(shop, "worth")
    assert house.send(shop, "explain_", "worth")["author"] == "alfred"


def test_only_messages_are_routed():
    with awakened() as image:
        error = Bench(image).send("pLLM_obj", "routed_", 5).error
        assert error.type == "BadArguments" and "message object" in error.message


# --- what is asked of the model ----------------------------------------------------------------------------------------


def test_questions_for_a_waiting_tool_are_interactive_and_the_images_own_are_background(build_house):
    house = build_house(worth=["    return self.cost"], other=["    return self.cost"])
    shop = make_shop(house)
    for selector, session in (("worth", "s1"), ("other", "heartbeat")):
        (outcome,) = house.bench.run(house.bench.delivery(shop, selector, session=session, seq=1))
        house.write(msgspec.structs.replace(outcome, session=session))
    asked = [(generate.priority, generate.session, generate.logprobs) for generate in house.model.asked]
    assert asked == [("interactive", "s1", True), ("background", "heartbeat", True)]


def test_token_entropy_is_summed_up_and_no_list_of_tokens_is_stored():
    half = math.log(0.5)
    total = spoken_by([Output("ab", 2, half, "stop", [half, half]), Output("c", 4, math.log(0.25), "stop")])
    assert total.tokens == 6 and total.entropy == pytest.approx((2 * 1 + 4 * 2) / 6)
    assert spoken_by([Output("a", 3, 0.0, "stop", [-0.1, -0.8, -3.0])]).hesitant == 2
    with awakened() as image:
        learner = Learner(image, Transactor(image, "uvm-1"), "uvm-1")
        for _ in range(2):
            learner.wrote("brick", [Output("ab", 2, half, "stop", [half] * 100)] * 3)
            learner.tick(1e9)
        learner.tick(2e9)
        image.manager.begin()
        assert spoken_in_drafts(image).tokens == 600 and tallies(image, "asked") == {"brick": 6}
        assert all(type(value) in (int, float) for head in image.shards("journals") for value in spoken_slots(head))
        image.manager.abort()


def spoken_slots(shard):
    return [value for name in shard.names() for value in shard.own(name).own("spoken", {}).values()]


def test_a_counter_and_vectors_are_all_that_a_router_holds():
    known = taught(*LESSONS)
    assert {type(known.own(name)) for name in known.names()} == {Counter, MergingVector}
