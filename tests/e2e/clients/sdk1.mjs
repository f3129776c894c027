// sdk1.mjs stdio COMMAND ARGS... | sdk1.mjs http URL | sdk1.mjs ws URL: @modelcontextprotocol/sdk 1.x.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { WebSocketClientTransport } from '@modelcontextprotocol/sdk/client/websocket.js';
import { visit } from './common.mjs';

if (!globalThis.WebSocket) globalThis.WebSocket = (await import('ws')).WebSocket;
const [kind, target, ...args] = process.argv.slice(2);
const client = new Client({ name: 'e2e', version: '1' });
Client.callShape = 3;
const transport = kind === 'stdio' ? new StdioClientTransport({ command: target, args })
  : new (kind === 'http' ? StreamableHTTPClientTransport : WebSocketClientTransport)(new URL(target));
let version;
const plain = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = v => { version = v; plain?.(v); };
await client.connect(transport);
await visit(client, version);
