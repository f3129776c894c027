// client2.mjs MODE stdio COMMAND ARGS... | client2.mjs MODE http URL: @modelcontextprotocol/client 2.x; MODE is legacy, auto or pin.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { visit } from './common.mjs';

const [mode, kind, target, ...args] = process.argv.slice(2);
const client = new Client({ name: 'e2e', version: '1' }, { versionNegotiation: { mode: mode === 'pin' ? { pin: '2026-07-28' } : mode } });
Client.callShape = 2;
await client.connect(kind === 'stdio' ? new StdioClientTransport({ command: target, args }) : new StreamableHTTPClientTransport(new URL(target)));
await visit(client, client.getNegotiatedProtocolVersion());
