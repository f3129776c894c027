#!/usr/bin/env python3
"""Checks what an MCP server said against the official JSON schemas: validate.py SCHEMA_DIR < wire.jsonl

Each line is {"message": ..., "version": "2025-11-25", "method": "tools/call" (the request's, for answers), "tool": ...}.
SCHEMA_DIR holds VERSION/schema.json. Prints what is wrong; exit code 1 if anything is. Needs the package jsonschema.
"""
import json
import os
import sys

import jsonschema

RESULTS = {
    "initialize": "InitializeResult", "ping": "EmptyResult", "tools/list": "ListToolsResult", "tools/call": "CallToolResult",
    "server/discover": "DiscoverResult", "subscriptions/listen": "SubscriptionsListenResult",
}
NOTIFICATIONS = {
    "notifications/progress": "ProgressNotification",
    "notifications/subscriptions/acknowledged": "SubscriptionsAcknowledgedNotification",
}


class Schemas:
    def __init__(self, folder):
        self.documents = {}
        for version in sorted(os.listdir(folder)):
            path = os.path.join(folder, version, "schema.json")
            if os.path.exists(path):
                with open(path) as f:
                    self.documents[version] = json.load(f)
        self.validators = {}

    def definitions(self, version):
        document = self.documents[version]
        return "$defs" if "$defs" in document else "definitions"

    def has(self, version, name):
        return name in self.documents[version][self.definitions(version)]

    def errors(self, version, name, value):
        key = (version, name)
        if not self.has(version, name):
            return [f"{version} has no {name}"]
        if key not in self.validators:
            where = self.definitions(version)
            schema = {"$schema": self.documents[version]["$schema"], "$ref": f"#/{where}/{name}",
                      where: self.documents[version][where]}
            self.validators[key] = jsonschema.validators.validator_for(schema)(schema)
        return [f"{name} of {version}: {'/'.join(map(str, e.absolute_path))}: {e.message[:300]}"
                for e in self.validators[key].iter_errors(value)]


def check_message(schemas, entry, tools):
    """What is wrong with one message; fills `tools` with the output schemas that tools/list announced."""
    message, version, method = entry["message"], entry["version"], entry.get("method", "")
    if version not in schemas.documents:
        return [f"no schema for {version}"]
    extra = set(message) - {"jsonrpc", "id", "method", "params", "result", "error"}
    wrong = [f"unexpected members {sorted(extra)}"] if extra else []  # TypeScript clients refuse them
    if "method" in message:
        name = NOTIFICATIONS.get(message["method"])
        return wrong + (schemas.errors(version, name, message) if name else [f"unknown notification {message['method']}"])
    if "error" in message:
        name = "JSONRPCErrorResponse" if schemas.has(version, "JSONRPCErrorResponse") else "JSONRPCError"
        # Before 2025-11-25 an error without an id could not be written; JSON-RPC's null is refused by clients.
        if "id" not in message and name == "JSONRPCError":
            return wrong
        return wrong + schemas.errors(version, name, message)
    if method not in RESULTS:
        return wrong + [f"a result for {method or 'nothing'}"]
    name = "JSONRPCResultResponse" if schemas.has(version, "JSONRPCResultResponse") else "JSONRPCResponse"
    result = message.get("result")
    wrong += schemas.errors(version, name, message) + schemas.errors(version, RESULTS[method], result)
    if method == "tools/list":
        tools.update({t["name"]: t["outputSchema"] for t in result["tools"] if "outputSchema" in t})
    if method == "tools/call" and "structuredContent" in result and entry.get("tool") in tools:
        validator = jsonschema.Draft202012Validator(tools[entry["tool"]])
        wrong += [f"structuredContent of {entry['tool']}: {e.message[:300]}" for e in validator.iter_errors(result["structuredContent"])]
    return wrong


def check(folder, lines):
    """(number of messages, problems) of JSON lines."""
    schemas, tools, problems, entries = Schemas(folder), {}, [], [json.loads(line) for line in lines if line.strip()]
    # Lists first: transcripts come in the order of their names, and most do not list before they call.
    entries.sort(key=lambda entry: entry.get("method") != "tools/list")
    for entry in entries:
        problems += [f"{entry.get('transcript', '')}: {w}\n  {json.dumps(entry['message'])[:400]}" for w in check_message(schemas, entry, tools)]
    return len(entries), problems


if __name__ == "__main__":
    count, found = check(sys.argv[1], sys.stdin)
    print("\n".join(found) or f"{count} messages are valid")
    sys.exit(1 if found else 0)
