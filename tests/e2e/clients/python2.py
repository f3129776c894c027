"""python2.py MODE stdio COMMAND ARGS... | python2.py MODE http URL: the Python package mcp 2.x. Prints one JSON line."""
import asyncio
import json
import sys

from mcp import Client
from mcp.client.stdio import StdioServerParameters

PROMPT = "Name three primary colours."


async def visit(client):
    out = {"version": client.protocol_version, "tools": [t.name for t in (await client.list_tools()).tools]}
    seen = []

    async def on_progress(progress, total, message):
        seen.append(progress)

    result = await client.call_tool("generate_text", {"prompt": PROMPT, "max_tokens": 40, "temperature": 0}, progress_callback=on_progress)
    out["text"] = result.content[0].text
    out["structured"] = result.structured_content["text"]
    out["progress"] = len(seen)

    started = asyncio.Event()

    async def first(progress, total, message):
        started.set()

    call = asyncio.ensure_future(client.call_tool("generate_text", {"prompt": PROMPT, "max_tokens": 4000, "temperature": 0, "ignore_eos": True},
                                                  progress_callback=first))
    await asyncio.wait_for(started.wait(), 60)
    call.cancel()
    try:
        await call
        out["cancelled"] = False
    except asyncio.CancelledError:
        out["cancelled"] = True
    out["counted"] = (await client.call_tool("count_tokens", {"text": "Hello world"})).structured_content["tokens"]
    out["bad_is_error"] = (await client.call_tool("generate_text", {"prompt": 5})).is_error
    print(json.dumps(out))


async def main(mode, kind, target, *args):
    server = StdioServerParameters(command=target, args=list(args)) if kind == "stdio" else target
    async with Client(server, mode=mode) as client:
        await visit(client)


asyncio.run(main(*sys.argv[1:]))
