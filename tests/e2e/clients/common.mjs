// The same visit by every SDK client: list, call with streaming, cancel, bad arguments, unknown tool. Prints one JSON line.
const DELTA = 'dev.kvasir/delta';
const PROMPT = 'Name three primary colours.';

export async function visit(client, version) {
  const out = { version, server: client.getServerVersion(), tools: (await client.listTools()).tools.map(tool => tool.name) };

  const deltas = [];
  // call() hides where the two generations of the SDK differ: the options' place.
  const call = (name, args, options) =>
    client.constructor.callShape === 3 ? client.callTool({ name, arguments: args }, undefined, options)
                                       : client.callTool({ name, arguments: args }, options);
  const answer = await call('generate_text', { prompt: PROMPT, max_tokens: 40, temperature: 0 },
    { onprogress: p => deltas.push(p._meta?.[DELTA] ?? ''), resetTimeoutOnProgress: true, timeout: 60000 });
  out.text = answer.content[0].text;
  out.structured = answer.structuredContent.text;
  out.deltas = deltas.join('');
  out.progress = deltas.length;

  const abort = new AbortController();
  let started = 0;
  try {
    await call('generate_text', { prompt: PROMPT, max_tokens: 4000, temperature: 0, ignore_eos: true },
      { signal: abort.signal, onprogress: () => { if (++started === 2) abort.abort('enough'); }, timeout: 60000 });
    out.cancelled = false;
  } catch (error) {
    out.cancelled = started >= 2;
  }
  out.counted = (await call('count_tokens', { text: 'Hello world' }, {})).structuredContent.tokens;
  out.bad_is_error = (await call('generate_text', { prompt: 5 }, {})).isError === true;
  try {
    const unknown = await call('no_such_tool', {}, {});
    out.unknown = unknown.isError ? 'isError' : 'accepted';
  } catch (error) {
    out.unknown = error.code;
  }
  await client.close();
  console.log(JSON.stringify(out));
}
