#!/usr/bin/env python3
"""Plain JSON-RPC over WebSocket, streaming: client.py [ws://127.0.0.1:8080/rpc] [PROMPT]   (pip install websockets)"""
import json
import sys

from websockets.sync.client import connect


def main(url="ws://127.0.0.1:8080/rpc", prompt="Name three primary colours."):
    with connect(url) as socket:
        socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "generate_text",
                                "params": {"prompt": prompt, "max_tokens": 200, "temperature": 0, "stream": True}}))
        while True:
            message = json.loads(socket.recv())
            if message.get("method") == "generate_text/delta":
                print(message["params"]["text"], end="", flush=True)
            elif "error" in message:
                sys.exit(message["error"]["message"])
            elif message.get("id") == 1:
                print()
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
