// Talks to a server with the clients that people have. Arguments: the address
// and the key. Its model "story" answers every chat with SCRIPT, which has
// reasoning, text and a call.
import assert from "node:assert/strict";
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";

const [url, key] = process.argv.slice(2);
const messages = [{ role: "user", content: "Weather?" }];
const parameters = {
  type: "object",
  properties: { unit: { enum: ["c", "f"] }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["unit", "days"],
  additionalProperties: false,
};
const description = "Weather.";
const tools = [{ type: "function", function: { name: "get_weather", description, parameters } }];
const args = { unit: "c", days: 2 };

async function openai() {
  const c = new OpenAI({ baseURL: url + "/v1", apiKey: key, maxRetries: 0 });
  assert.equal((await c.models.list()).data[0].id, "story");
  const whole = await c.chat.completions.create({ model: "story", messages, tools, temperature: 0 });
  const choice = whole.choices[0];
  assert.equal(choice.finish_reason, "tool_calls");
  assert.equal(choice.message.content, "Let me see.");
  assert.deepEqual(JSON.parse(choice.message.tool_calls[0].function.arguments), args);
  const helper = c.chat.completions.stream({ model: "story", messages, tools, temperature: 0, stream_options: { include_usage: true } });
  const last = await helper.finalChatCompletion();
  assert.equal(last.choices[0].message.content, "Let me see.");
  assert.deepEqual(JSON.parse(last.choices[0].message.tool_calls[0].function.arguments), args);
  assert.ok(last.usage.completion_tokens > 10);
  const runner = await c.chat.completions.create({
    model: "story", temperature: 0, reasoning_effort: "none",
    messages: [...messages, choice.message, { role: "tool", tool_call_id: choice.message.tool_calls[0].id, content: "sunny" }],
    response_format: { type: "json_schema", json_schema: { name: "w", strict: true, schema: parameters } },
  });
  assert.ok(JSON.parse(runner.choices[0].message.content).days >= 1);
  const forced = await c.chat.completions.create({ model: "story", messages, tools, temperature: 0, reasoning_effort: "none", tool_choice: "required", parallel_tool_calls: false });
  assert.equal(forced.choices[0].message.tool_calls.length, 1);
  await assert.rejects(c.chat.completions.create({ model: "none", messages }), (e) => e.status === 404 && e.code === "model_not_found");
  await assert.rejects(c.chat.completions.create({ model: "story", messages, temperature: 9 }), (e) => e.status === 400 && e.param === "temperature");

  const flat = [{ type: "function", name: "get_weather", description, parameters, strict: false }];
  const r = await c.responses.create({ model: "story", input: "Weather?", instructions: "Be brief.", tools: flat, temperature: 0 });
  assert.equal(r.status, "completed");
  assert.equal(r.output_text, "Let me see.");
  assert.deepEqual(r.output.map((o) => o.type), ["reasoning", "message", "function_call"]);
  assert.deepEqual(JSON.parse(r.output[2].arguments), args);
  const stream = c.responses.stream({ model: "story", input: [{ role: "user", content: "Weather?" }], tools: flat, temperature: 0 });
  let text = "";
  stream.on("response.output_text.delta", (e) => (text += e.delta));
  const final = await stream.finalResponse();
  assert.equal(text, "Let me see.");
  assert.deepEqual(final.output.map((o) => o.type), ["reasoning", "message", "function_call"]);
  const again = await c.responses.create({
    model: "story", temperature: 0, store: false,
    input: [{ role: "user", content: [{ type: "input_text", text: "Weather?" }] }, ...r.output, { type: "function_call_output", call_id: r.output[2].call_id, output: "sunny" }],
  });
  assert.ok(again.usage.input_tokens > 10);
  await assert.rejects(c.responses.create({ model: "story", input: "x", previous_response_id: "resp_1" }), (e) => e.param === "previous_response_id");
}

async function anthropic() {
  const c = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
  const tools = [{ name: "get_weather", description, input_schema: parameters }];
  const ask = { model: "story", max_tokens: 200, temperature: 0, system: "Be brief.", messages, tools, thinking: { type: "enabled", budget_tokens: 1024 } };
  delete ask.temperature;
  ask.top_k = 1;
  const m = await c.messages.create(ask);
  assert.deepEqual(m.content.map((b) => b.type), ["thinking", "text", "tool_use"]);
  assert.equal(m.stop_reason, "tool_use");
  assert.deepEqual(m.content[2].input, args);
  const s = c.messages.stream(ask);
  let text = "";
  s.on("text", (t) => (text += t));
  const final = await s.finalMessage();
  assert.equal(text, "Let me see.");
  assert.deepEqual(final.content.map((b) => b.type), ["thinking", "text", "tool_use"]);
  assert.deepEqual(final.content[2].input, args);
  assert.ok(final.usage.output_tokens > 10 && final.usage.input_tokens > 0);
  const next = await c.messages.create({
    ...ask,
    messages: [...messages, { role: "assistant", content: m.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: m.content[2].id, content: "sunny" }] }],
  });
  assert.equal(next.role, "assistant");
  const stopped = await c.messages.create({ ...ask, tools: [], stop_sequences: ["me see"] });
  assert.equal(stopped.stop_reason, "stop_sequence");
  assert.equal(stopped.stop_sequence, "me see");
  assert.ok((await c.messages.countTokens({ model: "story", messages })).input_tokens > 5);
  await assert.rejects(c.messages.create({ ...ask, model: "none" }), (e) => e.status === 404 && e.error.error.type === "not_found_error");
}

async function ollama() {
  const c = new Ollama({ host: url, headers: { Authorization: "Bearer " + key } });
  assert.equal((await c.list()).models[0].name, "story");
  assert.ok((await c.show({ model: "story" })).capabilities.includes("tools"));
  const options = { temperature: 0 };
  const whole = await c.chat({ model: "story:latest", messages, tools, options });
  assert.equal(whole.message.content, "Let me see.");
  assert.equal(whole.message.thinking, "Hm.");
  assert.deepEqual(whole.message.tool_calls[0].function.arguments, args);
  let text = "", calls = [], done = false;
  for await (const part of await c.chat({ model: "story", messages, tools, options, stream: true })) {
    text += part.message.content;
    calls.push(...(part.message.tool_calls ?? []));
    done ||= part.done && part.eval_count > 10;
  }
  assert.equal(text, "Let me see.");
  assert.deepEqual(calls[0].function.arguments, args);
  assert.ok(done);
  const next = await c.chat({ model: "story", options, messages: [...messages, whole.message, { role: "tool", tool_name: "get_weather", content: "sunny" }] });
  assert.ok(next.message.content.includes("Let me see."));
  const json = await c.generate({ model: "story", prompt: "x", format: parameters, think: false, options });
  assert.ok(JSON.parse(json.response).days >= 1);
  assert.equal((await c.generate({ model: "story", prompt: "" })).done_reason, "load");
  await assert.rejects(c.chat({ model: "none", messages }), (e) => e.message.includes("none"));
}

await openai();
await anthropic();
await ollama();
console.log("all clients are content");
