"""Sixteen clients on three transports, arriving at random, some leaving early: each gets what it gets alone (decisions.md 9)."""
import concurrent.futures
import json
import random
import socket
import struct
import time
import unittest

from kvasir_e2e import *
from test_http import message_of, modern
from websocket import WebSocket

CLIENTS = 16
QUITTERS = 6
PROMPTS = ["Name three fruits.", "Tell me about rivers. " * 12, "Write a haiku about snow.", "What is two plus two?",
           "Explain what a compiler does. " * 20, "List the days of the week."]


def arguments_of(number):
    sampled = {"temperature": 0.8, "seed": number} if number % 2 else {"temperature": 0}
    return {"prompt": PROMPTS[number % len(PROMPTS)], "max_tokens": 24 + number, "return_tokens": True, "ignore_eos": True, "logprobs": 3, **sampled}


def essence(result):
    """What must not depend on company: the tokens, and the distribution that each was drawn from."""
    return result["tokens"], [(step["logprob"], step["top"]) for step in result["logprobs"]]


def by_post(server, number):
    return server.rpc("generate_text", arguments_of(number))["result"]


def by_websocket(server, number):
    with WebSocket(server.host, server.port, "/rpc") as ws:
        ws.send({"jsonrpc": "2.0", "id": number, "method": "generate_text", "params": {**arguments_of(number), "stream": True}})
        streamed = ""
        while True:
            message = ws.receive()
            if message.get("id") == number:
                assert streamed == message["result"]["text"], (streamed, message)
                return message["result"]
            streamed += message["params"]["text"]


def by_mcp(server, number):
    body, headers = modern("tools/call", number=number, name="generate_text", arguments=arguments_of(number))
    return message_of(server.http("POST", "/mcp", body, headers))["result"]["structuredContent"]


def endless(number):
    return {"jsonrpc": "2.0", "id": number, "method": "generate_text",
            "params": {"prompt": PROMPTS[number % len(PROMPTS)], "max_tokens": 4000, "ignore_eos": True, "stream": True}}


def cancel_on_websocket(server, number):
    with WebSocket(server.host, server.port, "/rpc") as ws:
        ws.send(endless(number))
        ws.receive()
        ws.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
        while ws.receive().get("id") != number:
            pass


def leave_a_post(server, number):
    body = json.dumps(endless(number)).encode()
    with socket.create_connection((server.host, server.port), timeout=60) as s:
        s.sendall(b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream, application/json\r\n"
                  b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        s.recv(64)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a goodbye


def metric(server, name):
    return next(float(line.split()[1]) for line in server.http("GET", "/metrics")[2].splitlines() if line.startswith(name + " "))


@needs_model
class Company(unittest.TestCase):
    def visit(self, server, transports, seed):
        chance = random.Random(seed)
        jobs = [(transports[n % len(transports)], n) for n in range(CLIENTS)]
        jobs += [((cancel_on_websocket, leave_a_post)[n % 2], CLIENTS + n) for n in range(QUITTERS)]
        chance.shuffle(jobs)
        delays = [chance.random() * 0.4 for _ in jobs]

        def later(job, delay):
            time.sleep(delay)
            return job[1], job[0](server, job[1])

        with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
            results = dict(pool.map(later, jobs, delays))
        return {n: essence(results[n]) for n in range(CLIENTS)}

    def test_everybody_gets_the_tokens_and_probabilities_that_each_gets_alone(self):
        alone = None
        for threads in (1, 2, 3):
            with self.subTest(threads=threads), Server("--threads", str(threads)) as server:
                if alone is None:
                    alone = {n: essence(by_post(server, n)) for n in range(CLIENTS)}
                before = metric(server, "kvasir_engine_steps_total"), metric(server, "kvasir_engine_step_sequences_total")
                together = self.visit(server, (by_post, by_websocket, by_mcp), seed=threads)
                for number in range(CLIENTS):
                    self.assertEqual(together[number], alone[number], f"client {number} of {threads} threads")
                steps = metric(server, "kvasir_engine_steps_total") - before[0]
                sequences = metric(server, "kvasir_engine_step_sequences_total") - before[1]
                self.assertGreater(sequences / steps, 2, "the clients did not share steps")

    def test_requests_in_flight_together_on_one_pipe_are_answered_as_alone(self):
        with Conversation(with_model("rpc")) as c:
            alone = {n: essence(c.request("generate_text", arguments_of(n))["result"]) for n in range(CLIENTS)}
        with Conversation(with_model("rpc")) as c:
            for number in range(CLIENTS):
                c.send({"id": number, "method": "generate_text", "params": arguments_of(number)})
            together = {}
            while len(together) < CLIENTS:
                message = c.receive()
                together[message["id"]] = essence(message["result"])
        self.assertEqual(together, alone)


if __name__ == "__main__":
    unittest.main()
