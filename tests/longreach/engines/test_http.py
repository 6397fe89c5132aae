"""The http engine against a server that fails on purpose: what is retried, how often, and what is said in the end."""

import asyncio
import base64
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import faultserver
from faultserver import FAULTS, HANG, RESET, Act, FaultServer, always, first, mixed, raw, status
from longreach.engines import wire
from longreach.engines.backoff import Backoff
from longreach.engines.base import Completion, Message, Request, RequestFailed, Sampling
from longreach.engines.fleet import GONE, TRIP
from longreach.engines.http import HttpEngine
from longreach.engines.journalled import Journalled
from longreach.errors import UserError
from longreach.journal import Journal

QUICK = Backoff(first=0.001, longest=0.01)
KEY = "sk-very-secret-0123456789"


def request(text: str = "hello", affinity: str = "", schema: dict[str, Any] | None = None) -> Request:
    return Request((Message("user", text),), Sampling(16, 0.7, 0.9, seed=5), schema, affinity)


def engine(*servers: FaultServer | str, **settings: Any) -> HttpEngine:
    urls = [server if isinstance(server, str) else server.url for server in servers]
    return HttpEngine(**({"model": "tiny", "base_urls": urls, "attempts": 3, "backoff": QUICK} | settings))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await coroutine

    return asyncio.run(bounded())


async def ask(server: FaultServer, asked: Request | None = None, **settings: Any) -> Completion:
    async with server, engine(server, **settings) as http:
        return await http.complete(asked or request())


def failure(server: FaultServer, **settings: Any) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        run(ask(server, **settings))
    return caught.value


def user_error(server: FaultServer, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        run(ask(server, **settings))
    return str(caught.value)


# --- what is sent and what comes back


def test_a_request_becomes_the_body_of_the_protocol() -> None:
    server = FaultServer()
    completion = run(ask(server, request(schema={"type": "object"}), api_key=f"{KEY}\n"))
    [seen] = server.seen
    assert seen.asked == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 16,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 5,
    }
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert completion.text == "hello"
    assert completion.finish_reason == "stop"
    assert completion.prompt_tokens > completion.cached_tokens > 0
    assert completion.completion_tokens == 1


def test_a_schema_is_enforced_by_response_format_where_the_server_can() -> None:
    server = FaultServer()
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    run(ask(server, request(schema=schema), structured=True))
    wanted = {"name": "reply", "schema": schema, "strict": True}
    assert server.seen[0].asked["response_format"] == {"type": "json_schema", "json_schema": wanted}


def test_plain_text_goes_to_completions_and_comes_back() -> None:
    server = FaultServer(first(*FAULTS[1:3]))
    completion = run(ask(server, Request((), Sampling(16, stop=("\n",)), text="the sea\nis")))
    assert server.seen[0].asked == {
        "model": "tiny",
        "prompt": "the sea\nis",
        "max_tokens": 16,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
        "stop": ["\n"],
    }
    assert len(server.seen) == 3
    assert (completion.text, completion.finish_reason) == ("the sea", "stop")  # an echo: this server knows no stop
    assert completion.prompt_tokens > completion.cached_tokens > 0


def test_a_server_is_sent_no_more_stop_strings_than_it_takes_and_the_answer_ends_at_all_of_them() -> None:
    server = FaultServer(always(faultserver.LENGTH))
    stops = ("one", "two", "three", "four", "five")
    completion = run(ask(server, replace(request("a five b"), sampling=Sampling(16, stop=stops))))
    assert server.seen[0].asked["stop"] == list(stops[:4])
    assert (completion.text, completion.finish_reason) == ("a ", "stop")


@pytest.mark.parametrize("text", [b"null", b"7"])
def test_plain_text_without_a_text_is_a_fault_that_may_pass(text: bytes) -> None:
    broken = raw(b'{"choices": [{"text": %b, "finish_reason": "stop"}]}' % text)
    server = FaultServer(first(broken))
    assert run(ask(server, Request((), Sampling(16), text="the sea"))).text == "the sea"
    assert len(server.seen) == 2


@pytest.mark.parametrize("end", ["", "/", "/completions", "/chat/completions"])
def test_an_address_may_name_either_place(end: str) -> None:
    async def both(server: FaultServer) -> list[str]:
        async with server, engine(f"{server.url}{end}") as http:
            asked = (request("hello"), Request((), Sampling(16), text="the sea"))
            return [(await http.complete(one)).text for one in asked]

    assert run(both(FaultServer())) == ["hello", "the sea"]


def test_a_cut_off_answer_passes_through_as_such() -> None:
    assert run(ask(FaultServer(always(faultserver.LENGTH)))).finish_reason == "length"


def test_a_reasoning_model_that_ran_out_of_tokens_is_cut_off_and_not_asked_again() -> None:
    body = b'{"choices":[{"message":{"content":null,"reasoning_content":"hm"},"finish_reason":"length"}]}'
    assert run(ask(FaultServer(always(raw(body))))) == Completion("", "length")


def test_a_prompt_of_megabytes_is_sent_whole_again_after_a_fault() -> None:
    server = FaultServer(first(RESET))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(ask(server, request("word " * 600_000))).text == "word " * 600_000


@pytest.mark.parametrize("ending", ["", "/", "/chat/completions"])
def test_a_base_url_is_taken_as_users_write_it(ending: str) -> None:
    async def story(server: FaultServer) -> Completion:
        async with server, engine(server.url + ending) as http:
            return await http.complete(request())

    assert run(story(FaultServer())).text == "hello"


def test_a_password_in_the_url_is_sent_as_a_header_and_never_shown() -> None:
    async def story(server: FaultServer) -> str:
        async with server, engine(server.url.replace("//", "//me:pass-word@")) as http:
            with pytest.raises(RequestFailed) as caught:
                await http.complete(request())
        return str(caught.value)

    token = base64.b64encode(b"me:pass-word").decode()
    server = FaultServer(always(status(400, f"pass-word and {token} are bad")))
    assert run(story(server)) == "http 400: *** and *** are bad"
    assert server.seen[0].headers["authorization"] == f"Basic {token}"


@pytest.mark.parametrize(
    "address", ["127.0.0.1:8000/v1", "ftp://me:pass-word@host/v1", "http://me:pass-word@host:99999/v1", "", "http://"]
)
def test_what_is_no_address_is_refused_without_showing_a_password(address: str) -> None:
    with pytest.raises(UserError, match="looks like http://127") as caught:
        engine(address)
    assert "pass-word" not in str(caught.value)


def test_all_wrong_addresses_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        engine("host:1/v1", "http://host/v1?version=2", "http://me:pass-word@host/v1", api_key=KEY)
    assert len(caught.value.problem.splitlines()) == 3
    assert "pass-word" not in str(caught.value)


def test_nothing_in_the_environment_changes_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server = FaultServer()
    assert run(ask(server)).text == "hello"
    assert "authorization" not in server.seen[0].headers


# --- faults


@pytest.mark.parametrize("act", FAULTS, ids=lambda act: f"{act.kind} {act.status} {act.body[:12]!r}")
def test_a_fault_that_passes_is_tried_again_until_there_is_an_answer(act: Act) -> None:
    acts = (act,) if act is HANG else (act, act)
    server = FaultServer(first(*acts))
    assert run(ask(server, timeout=1.5 if act is HANG else 60.0)).text == "hello"
    assert list(server.arrivals.values()) == [len(acts) + 1]
    assert server.answered == {"hello": 1}


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (status(408), "http 408"),
        (status(409), "http 409"),
        (status(425), "http 425"),
        (status(429), "http 429"),
        (status(500), "http 500"),
        (status(502), "http 502"),
        (status(503), "http 503"),
        (status(504), "http 504"),
        (HANG, "timeout"),
        (faultserver.DRIP, "timeout"),
        (faultserver.FLOOD, "endless reply"),
        (faultserver.HANG_UP, "connection reset"),
        (RESET, "connection reset"),
        (faultserver.EMPTY_CHOICES, "empty choices"),
        (faultserver.NULL_CONTENT, "null content"),
        (faultserver.GARBAGE, "garbage json"),
        (faultserver.TRUNCATED, "garbage json"),
        (raw(b""), "garbage json"),
        (raw(b"[]"), "empty choices"),
        (raw(b'{"choices":[7]}'), "empty choices"),
        (raw(b'{"choices":[{"message":{"content":"ha"},"finish_reason":"abort"}]}'), "broken off"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_a_fault_that_stays_fails_the_request_after_so_many_attempts(
    act: Act, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LARGEST_REPLY", 2**21)
    server = FaultServer(always(act))
    error = failure(server, timeout=0.2 if reason == "timeout" else 60.0)
    assert error.reason == reason
    assert list(server.arrivals.values()) == [3]


@pytest.mark.parametrize("at_start", [True, False])
def test_waits_between_attempts_are_jittered_below_a_ceiling_that_doubles(at_start: bool) -> None:
    ceilings: list[float] = []

    def jitter(low: float, high: float) -> float:
        assert low == 0.0
        ceilings.append(high)
        return 0.0

    server = FaultServer(models=status(503)) if at_start else FaultServer(always(status(500)))
    with pytest.raises((RequestFailed, UserError)):
        run(ask(server, attempts=5, backoff=Backoff(first=1.0, longest=6.0, jitter=jitter)))
    assert ceilings == [1.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize("code", [400, 413, 422, 451])
def test_a_request_that_is_wrong_is_not_sent_again(code: int) -> None:
    server = FaultServer(always(status(code, "that\nwill\x1b[31m not do " + "x" * 5000)))
    error = failure(server)
    assert error.reason == f"http {code}"
    assert error.detail.startswith("that will [31m not do xxx")
    assert len(error.detail) == 300
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "the request exceeds the available context size",
    ],
)
def test_a_prompt_too_long_for_the_window_has_its_own_reason(message: str) -> None:
    assert failure(FaultServer(always(status(400, message)))).reason == "prompt too long"


@pytest.mark.parametrize("code", [401, 402, 403, 404, 405])
def test_what_dooms_every_request_stops_the_run(code: int) -> None:
    server = FaultServer(always(status(code, "so it is")))
    assert server.url.rpartition(":")[0] in user_error(server)
    assert len(server.seen) == 1


def test_no_answer_is_lost_doubled_or_swapped_among_many_faults() -> None:
    acts = [act for act in FAULTS if act is not HANG]
    servers = [FaultServer(mixed(acts, failures=2)) for _ in range(2)]
    texts = [f"question {number}" for number in range(150)]

    async def story() -> list[Completion]:
        async with servers[0], servers[1], engine(*servers, attempts=9, concurrency=32) as http:
            return await asyncio.gather(*(http.complete(request(text, affinity=text)) for text in texts))

    assert [completion.text for completion in run(story())] == texts
    assert servers[0].answered + servers[1].answered == Counter(texts)
    assert all(count <= 3 for server in servers for count in server.arrivals.values())


# --- keys


@pytest.mark.parametrize(
    "act",
    [
        status(400, f"bad {KEY}"),
        status(401, f"bad {KEY}"),
        status(403, f"bad {KEY}"),
        status(500, f"bad {KEY}"),
        status(502, f"bad {KEY}"),
        raw(b'{"error": {"message": "bad %b"}}' % KEY.encode()),
        faultserver.HANG_UP,
    ],
    ids=lambda act: f"{act.kind} {act.status}",
)
def test_no_error_shows_the_key(act: Act) -> None:
    with pytest.raises((RequestFailed, UserError)) as caught:
        run(ask(FaultServer(always(act)), api_key=KEY))
    error: BaseException | None = caught.value
    while error:
        assert KEY not in f"{error} {error!r}"
        error = error.__cause__


def test_a_wrong_key_is_found_at_the_start_and_not_shown() -> None:
    text = user_error(FaultServer(key="another"), api_key=KEY)
    assert "refuses the API key" in text
    assert KEY not in text


def test_what_a_server_says_of_a_wrong_key_is_not_repeated() -> None:
    assert "6789" not in user_error(FaultServer(always(status(401, "Incorrect key: sk-ve***6789"))), api_key=KEY)


def test_neither_engine_nor_server_shows_the_key() -> None:
    http = engine("http://me:pass-word@host/v1")
    assert "pass-word" not in f"{http!r} {http._fleet.servers!r}"
    http = engine("http://host/v1", api_key=KEY)
    assert KEY not in f"{http!r} {http._fleet.servers!r}"


def test_a_key_with_characters_no_header_can_hold_is_refused_unseen() -> None:
    with pytest.raises(UserError, match="API key") as caught:
        engine("http://host/v1", api_key="sk-very\nsecret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("at_start", [True, False])
def test_a_redirect_is_not_followed_with_the_key(at_start: bool) -> None:
    async def story() -> list[Any]:
        async with FaultServer() as thief:
            away = status(307, Location=f"{thief.url}/chat/completions")
            server = FaultServer(always(away), models=away if at_start else ("tiny",))
            with pytest.raises(UserError, match="redirects"):
                await ask(server, api_key=KEY)
            return [thief.probes, *thief.seen]

    assert run(story()) == [0]


# --- the start


def test_a_server_that_is_down_is_named_at_the_start() -> None:
    async def story() -> None:
        async with FaultServer() as up, engine("http://127.0.0.1:1/v1", up, "http://127.0.0.1:2/v1"):
            pass

    with pytest.raises(UserError) as caught:
        run(story())
    assert "127.0.0.1:1/v1" in caught.value.problem
    assert "127.0.0.1:2/v1" in caught.value.problem
    assert "--base-url" in caught.value.hint


def test_a_model_that_is_not_there_is_told_with_those_that_are() -> None:
    text = user_error(FaultServer(models=("tiny-instruct", "other")), model="tiny-instuct")
    assert "did you mean 'tiny-instruct'?" in text
    assert "other" in text


def test_the_only_model_is_taken_where_none_is_named() -> None:
    async def story(server: FaultServer) -> str:
        async with server, engine(server, model="") as http:
            await http.complete(request())
            return http.model

    server = FaultServer(models=("just this",))
    assert run(story(server)) == "just this"
    assert server.seen[0].asked["model"] == "just this"


@pytest.mark.parametrize("models", [("one", "two"), (), status(404)])
def test_a_model_must_be_named_where_there_is_a_choice_or_no_list(models: Any) -> None:
    assert "--model" in user_error(FaultServer(models=models), model="")


@pytest.mark.parametrize("models", [status(404), status(405), (), raw(b'[{"id": "tiny"}]')])
def test_a_server_without_a_list_of_models_or_with_a_bare_one_is_accepted(models: Any) -> None:
    assert run(ask(FaultServer(models=models))).text == "hello"


def test_a_web_page_is_no_chat_server() -> None:
    assert "/v1" in user_error(FaultServer(models=raw(b"<html>welcome</html>")))


def test_a_server_that_is_still_loading_is_given_some_time_only() -> None:
    server = FaultServer(models=status(503, "loading"))
    assert "not ready" in user_error(server)
    assert server.probes == 3


# --- several servers, outages


def test_requests_of_a_document_share_a_server_whatever_the_order_of_the_urls() -> None:
    async def story() -> None:
        servers = [FaultServer() for _ in range(3)]
        async with servers[0], servers[1], servers[2]:
            for order in (servers, servers[::-1]):
                async with engine(*order) as http:
                    await asyncio.gather(*(http.complete(request(f"{n}", f"doc {n % 30}")) for n in range(120)))
        homes = [{int(seen.asked["messages"][0]["content"]) % 30 for seen in server.seen} for server in servers]
        assert sorted(document for home in homes for document in home) == list(range(30))
        assert all(homes)

    run(story())


def test_requests_of_no_document_are_spread() -> None:
    async def story() -> None:
        servers = [FaultServer(latency=0.01) for _ in range(2)]
        async with servers[0], servers[1], engine(*servers) as http:
            await asyncio.gather(*(http.complete(request(f"{n}")) for n in range(20)))
        assert [len(server.seen) for server in servers] == [10, 10]

    run(story())


def test_a_server_that_stops_is_replaced_and_gets_its_documents_back_when_it_returns() -> None:
    async def story() -> None:
        servers = [FaultServer(), FaultServer()]
        documents = [f"doc {n}" for n in range(20)]
        async with servers[0], servers[1], engine(*servers) as http:

            async def homes() -> list[int]:
                for server in servers:
                    server.seen.clear()
                await asyncio.gather(*(http.complete(request(name, name)) for name in documents))
                return [len(server.seen) for server in servers]

            before = await homes()
            await servers[0].stop()
            assert await homes() == [0, 20]
            assert await homes() == [0, 20]
            await servers[0].start()
            while not (again := await homes())[0]:
                await asyncio.sleep(0.005)
            while again != before:
                again = await homes()

    run(story())


def test_a_restart_of_the_only_server_loses_nothing_and_costs_no_attempts() -> None:
    async def story() -> None:
        texts = [f"question {n}" for n in range(40)]
        server = FaultServer(latency=0.005)
        patient = Backoff(first=0.01, longest=0.05)
        async with server, engine(server, concurrency=8, attempts=2, backoff=patient) as http:
            asked = [asyncio.create_task(http.complete(request(text))) for text in texts]
            while len(server.seen) < 12:
                await asyncio.sleep(0.001)
            await server.stop()
            await asyncio.sleep(0.1)  # far more than all attempts would take
            await server.start()
            assert [completion.text for completion in await asyncio.gather(*asked)] == texts

    run(story())


def test_a_server_that_is_out_moves_no_documents_but_its_own() -> None:
    async def story() -> None:
        servers = [FaultServer() for _ in range(3)]
        documents = [f"doc {n}" for n in range(30)]
        async with servers[0], servers[1], servers[2], engine(*servers, concurrency=1, attempts=9) as http:

            async def homes() -> list[set[str]]:
                for server in servers:
                    server.answered.clear()
                await asyncio.gather(*(http.complete(request(name, name)) for name in documents))
                return [set(server.answered) for server in servers]

            before = await homes()
            await servers[0].stop()
            after = await homes()
            assert after[0] == set()
            assert all(home < now for home, now in zip(before[1:], after[1:], strict=True))  # both take some over

    run(story())


def test_a_server_that_lives_but_is_ill_keeps_no_request_from_the_others() -> None:
    async def story() -> None:
        async with (
            FaultServer(always(status(500))) as ill,
            FaultServer() as well,
            engine(ill, well, attempts=2) as http,
        ):
            texts = [f"question {number}" for number in range(30)]
            answers = await asyncio.gather(*(http.complete(request(text, text)) for text in texts))
            assert [answer.text for answer in answers] == texts
            assert 0 < len(ill.seen) < 30
            assert well.answered == Counter(texts)

    run(story())


def test_an_overloaded_server_keeps_its_documents() -> None:
    async def story() -> None:
        async with FaultServer(first(status(429))) as busy, FaultServer() as idle, engine(busy, idle) as http:
            for number in range(20):
                await http.complete(request(f"{number}", f"doc {number}"))
            assert len(busy.seen) == 2 * (20 - len(idle.seen)) > 0

    run(story())


def test_an_outage_is_said_once_and_so_is_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> str:
        async with FaultServer() as one, FaultServer() as two, engine(one, two, attempts=10**6) as http:

            async def ask_until(done: Callable[[], bool]) -> None:
                while not done():
                    await asyncio.gather(*(http.complete(request(f"{n}", f"doc {n}")) for n in range(20)))

            one.plan = always(faultserver.HANG_UP)  # it lives, so it is tried again and again
            await ask_until(lambda: len(one.seen) > 3 * TRIP)
            one.plan = faultserver.answering
            await ask_until(lambda: bool(one.answered))
            return one.url

    one = run(story())
    out, back = capsys.readouterr().err.splitlines()
    assert out.startswith(f"{one} does not answer (connection reset")
    assert out.endswith("its requests go to the other servers until it is back")
    assert back == f"{one} answers again"


def test_when_every_server_is_gone_the_rest_fails_soon_and_it_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> list[Any]:
        async with FaultServer() as one, FaultServer() as two, engine(one, two, attempts=10**6) as http:
            await one.stop()
            await two.stop()
            asked = (http.complete(request(str(n), str(n))) for n in range(30))
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert one.url in str(answers[0])
            assert two.url in str(answers[0])
            await asyncio.sleep(10 * QUICK.longest)  # nobody goes on asking
            return answers

    answers = run(story())
    assert {type(answer) for answer in answers} == {RequestFailed}
    assert {answer.reason for answer in answers} == {"no server"}
    said = capsys.readouterr().err
    assert said.count("does not answer") == 2
    assert said.count("no server answers any more") == 1


def test_a_server_that_lives_but_hangs_up_on_every_request_is_given_up_in_the_end() -> None:
    server = FaultServer(always(faultserver.HANG_UP))
    assert failure(server, attempts=10**6).reason == "no server"
    assert len(server.seen) == TRIP * GONE


def test_a_server_whose_gateway_says_that_it_is_gone_gets_nothing_until_it_is_back() -> None:
    async def story() -> None:
        servers = [FaultServer(), FaultServer()]
        async with servers[0], servers[1], engine(*servers, attempts=TRIP + 1) as http:
            servers[0].plan = always(status(502))
            servers[0].models = status(502)
            await asyncio.gather(*(http.complete(request(f"{n}", f"doc {n}")) for n in range(20)))
            tried = len(servers[0].seen)
            assert tried >= TRIP
            while servers[0].probes < 5:
                await asyncio.gather(*(http.complete(request(f"{n}", f"doc {n}")) for n in range(20)))
            assert len(servers[0].seen) == tried

    run(story())


def test_a_server_is_not_taken_out_for_failures_with_signs_of_life_between_them() -> None:
    async def story(*acts: Act) -> int:
        async with FaultServer(first(*acts)) as server, engine(server, attempts=10) as http:
            for number in range(4):
                await http.complete(request(str(number)))
            return server.probes

    hang_up = faultserver.HANG_UP
    assert run(story(*[hang_up] * (TRIP - 1))) == 1  # the greeting
    assert run(story(*[hang_up, status(500)] * TRIP)) == 1
    assert run(story(*[hang_up] * TRIP)) > 1


def test_a_server_that_completes_requests_between_its_outages_is_not_given_up() -> None:
    async def story() -> list[str]:
        plan = first(*[faultserver.HANG_UP] * TRIP)
        async with FaultServer(plan) as server, engine(server, attempts=TRIP + 1) as http:
            return [(await http.complete(request(str(number)))).text for number in range(GONE + 2)]

    answers = run(story())
    assert len(answers) == GONE + 2
    assert all(answers)


def test_leaving_while_a_server_is_out_leaves_nothing_running() -> None:
    async def story() -> None:
        slow = Backoff(first=1000.0, longest=1000.0, jitter=lambda low, high: 0.0)
        async with FaultServer() as server, engine(server, backoff=slow) as http:
            await server.stop()
            with pytest.raises(RequestFailed, match="server down"):
                await http.complete(request())
            assert len(asyncio.all_tasks()) > 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(story())


# --- how much at once


def test_a_server_is_given_no_more_at_once_than_was_said() -> None:
    async def story() -> int:
        async with FaultServer(always(HANG)) as server, engine(server, concurrency=5) as http:
            asked = [asyncio.create_task(http.complete(request(str(n)))) for n in range(20)]
            while server.under_way < 5:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            for task in asked:
                task.cancel()
            return server.peak

    assert run(story()) == 5


def test_each_of_several_servers_is_given_as_many_at_once(tmp_path: Path) -> None:
    """Through the journal, too, which lets no more through than the engine wants."""

    async def story() -> list[int]:
        servers = [FaultServer(latency=0.2) for _ in range(3)]
        async with servers[0], servers[1], servers[2], engine(*servers, concurrency=4) as http:
            with Journal(tmp_path / "journal.sqlite") as journal:
                journalled = Journalled(http, journal)
                await asyncio.gather(*(journalled.complete(request(f"{n}")) for n in range(60)))
        return [server.peak for server in servers]

    assert run(story()) == [4, 4, 4]


def test_a_server_that_is_overloaded_is_given_half() -> None:
    async def story() -> int:
        server = FaultServer(first(status(429)), latency=0.02)
        async with server, engine(server, concurrency=8) as http:
            await asyncio.gather(*(http.complete(request(str(n))) for n in range(8)))
            return server.peak

    assert 1 <= run(story()) <= 4


def test_a_server_that_keeps_up_again_is_given_more_again() -> None:
    async def story() -> int:
        server = FaultServer(first(status(429)))
        async with server, engine(server, concurrency=8) as http:
            await asyncio.gather(*(http.complete(request(str(n))) for n in range(8)))
            server.plan = faultserver.answering
            for number in range(100):
                await http.complete(request(f"more {number}"))
            server.plan = always(HANG)
            asked = [asyncio.create_task(http.complete(request(f"late {n}"))) for n in range(8)]
            while server.under_way < 8:
                await asyncio.sleep(0.001)
            for task in asked:
                task.cancel()
            return server.peak

    assert run(story()) == 8


def test_retry_after_pauses_the_server_that_said_it_and_no_other() -> None:
    async def story() -> None:
        servers = [FaultServer(), FaultServer()]
        async with servers[0], servers[1], engine(*servers) as http:
            names = [f"doc {n}" for n in range(20)]
            await asyncio.gather(*(http.complete(request(name, name)) for name in names))
            home = next(seen.asked["messages"][0]["content"] for seen in servers[0].seen)
            away = next(seen.asked["messages"][0]["content"] for seen in servers[1].seen)
            servers[0].plan = first(status(429, Retry_After="3600"))
            waiting = [asyncio.create_task(http.complete(request(f"new {n}", home))) for n in range(3)]
            await asyncio.gather(*(http.complete(request(f"other {n}", away)) for n in range(50)))
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in waiting)
            assert set(servers[0].arrivals.values()) == {1}
            for task in waiting:
                task.cancel()

    run(story())


def test_a_cancelled_request_gives_its_place_back() -> None:
    async def story() -> str:
        server = FaultServer(lambda digest, arrivals: HANG if len(server.seen) == 0 else faultserver.ANSWER)
        async with server, engine(server, concurrency=1) as http:
            asked = asyncio.create_task(http.complete(request("one")))
            while not server.seen:
                await asyncio.sleep(0.001)
            asked.cancel()
            return (await http.complete(request("two"))).text

    assert run(story()) == "two"
