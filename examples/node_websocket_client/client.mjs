// MCP over WebSocket from Node 22 or newer, without a package: node client.mjs [ws://127.0.0.1:8080/ws] [PROMPT]
// The same lines run in a browser, on a page whose origin `kvasir serve --allow-origin` names.
const [url = 'ws://127.0.0.1:8080/ws', prompt = 'Name three primary colours.'] = process.argv.slice(2);
const DELTA = 'dev.kvasir/delta';

const socket = new WebSocket(url, 'mcp');
const waiting = new Map();   // id -> { resolve, reject, onProgress }
let lastId = 0;

socket.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  const entry = waiting.get(message.id ?? message.params?.progressToken);
  if (message.method === 'notifications/progress') entry?.onProgress?.(message.params);
  else if (message.error) entry?.reject(new Error(message.error.message));
  else entry?.resolve(message.result);
};

const send = message => socket.send(JSON.stringify({ jsonrpc: '2.0', ...message }));
const request = (method, params = {}, onProgress) => {
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, onProgress });
    send({ id, method, params: onProgress ? { ...params, _meta: { progressToken: id } } : params });
  }).finally(() => waiting.delete(id));
};

await new Promise((resolve, reject) => {
  socket.onopen = resolve;
  socket.onerror = () => reject(new Error(`no server at ${url}: start one with kvasir serve`));
});
await request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'node-websocket-client', version: '1' } });
send({ method: 'notifications/initialized' });

let shown = '';
const result = await request('tools/call', { name: 'generate_text', arguments: { prompt, max_tokens: 200, temperature: 0 } }, progress => {
  const delta = progress._meta?.[DELTA] ?? '';
  shown += delta;
  process.stdout.write(delta);
});
if (result.isError) throw new Error(result.content[0].text);
console.log(result.structuredContent.text.slice(shown.length));
socket.close();
