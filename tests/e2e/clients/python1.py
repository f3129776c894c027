"""python1.py stdio COMMAND ARGS... | python1.py http URL: the Python package mcp 1.x. Prints one JSON line."""
import asyncio
import contextlib
import json
import sys

from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client

PROMPT = "Name three primary colours."


async def cancel_midway(session):
    """mcp 1.x sends no notification for an abandoned call: the id of the call is that of the next request, we send it."""
    started = asyncio.Event()

    async def first(progress, total, message):
        started.set()

    number = session._request_id
    call = asyncio.ensure_future(session.call_tool("generate_text", {"prompt": PROMPT, "max_tokens": 4000, "temperature": 0, "ignore_eos": True},
                                                   progress_callback=first))
    await asyncio.wait_for(started.wait(), 60)
    notification = types.CancelledNotification(method="notifications/cancelled", params=types.CancelledNotificationParams(requestId=number))
    await session.send_notification(types.ClientNotification(notification))
    answered, _ = await asyncio.wait([call], timeout=1)
    call.cancel()
    await asyncio.wait([call])
    return not answered  # a cancelled call gets no answer


async def main(kind, target, *args):
    opened = stdio_client(StdioServerParameters(command=target, args=list(args))) if kind == "stdio" else streamablehttp_client(target)
    async with contextlib.AsyncExitStack() as stack:
        streams = await stack.enter_async_context(opened)
        session = await stack.enter_async_context(ClientSession(streams[0], streams[1]))
        hello = await session.initialize()
        out = {"version": hello.protocolVersion, "tools": [t.name for t in (await session.list_tools()).tools]}
        seen = []

        async def on_progress(progress, total, message):
            seen.append(progress)

        result = await session.call_tool("generate_text", {"prompt": PROMPT, "max_tokens": 40, "temperature": 0}, progress_callback=on_progress)
        out["text"] = result.content[0].text
        out["structured"] = result.structuredContent["text"]
        out["progress"] = len(seen)
        out["cancelled"] = await cancel_midway(session)
        out["counted"] = (await session.call_tool("count_tokens", {"text": "Hello world"})).structuredContent["tokens"]
        out["bad_is_error"] = (await session.call_tool("generate_text", {"prompt": 5})).isError
        print(json.dumps(out))


asyncio.run(main(*sys.argv[1:]))
