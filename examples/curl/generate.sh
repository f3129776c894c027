#!/usr/bin/env bash
# Plain JSON-RPC with curl: generate.sh [http://127.0.0.1:8080] [PROMPT]. The second call streams server-sent events.
set -euo pipefail
url=${1:-http://127.0.0.1:8080} prompt=${2:-Name three primary colours.}

params=$(python3 -c 'import json, sys; print(json.dumps({"prompt": sys.argv[1], "max_tokens": 60, "temperature": 0}))' "$prompt")
curl -sS --fail-with-body -H 'Content-Type: application/json' \
  -d '{"jsonrpc":"2.0","id":1,"method":"generate_text","params":'"$params"'}' "$url/rpc"
echo
curl -sSN --fail-with-body -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
  -d '{"jsonrpc":"2.0","id":2,"method":"generate_text","params":'"${params%\}}"',"stream":true}}' "$url/rpc"
