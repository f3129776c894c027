#!/usr/bin/env python3
"""Asks many questions about one file: the file is read once, every question branches from there and costs only itself.

    ask_file.py notes.txt "Who wrote this?" "When?" -- kvasir rpc
    ask_file.py notes.txt --compare 3 "Suggest a title." -- kvasir rpc       (one question, three answers, side by side)
"""
import argparse
import json
import subprocess
import sys


class Kvasir:
    """A server process that speaks plain JSON-RPC, one line per message; one request at a time."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, method, **params):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": {"message": "the server ended"}}')
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("questions", nargs="+")
    parser.add_argument("--compare", type=int, default=1, metavar="N", help="answers per question, each from another seed")
    options = parser.parse_args(words[:cut])
    with open(options.file, errors="replace") as f:
        text = f.read()

    server = Kvasir(words[cut + 1:] or ["kvasir", "rpc"])
    base = server.ask("create_session", title=options.file, system=f"Answer from this text only, briefly.\n\n{text}")["session_id"]
    for question in options.questions:
        for seed in range(1, options.compare + 1):
            branch = server.ask("fork_session", session_id=base, title=question[:60])["session_id"]
            answer = server.ask("generate_text", session_id=branch, prompt=question, max_tokens=80, seed=seed,
                                temperature=0 if options.compare == 1 else 0.8)
            usage = answer["usage"]
            print(f"{question}\n  {answer['text'].strip()}\n"
                  f"  ({usage['prompt_tokens']} tokens of context, {usage['cached_tokens']} of them known, {branch})")
    server.close()


if __name__ == "__main__":
    main()
