"""Talks to a server with Python's openai. Arguments: the address and the key."""

import json
import sys

from openai import OpenAI, BadRequestError

url, key = sys.argv[1:3]
c = OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
messages = [{"role": "user", "content": "Weather?"}]
parameters = {"type": "object", "properties": {"unit": {"enum": ["c", "f"]}, "days": {"type": "integer"}}, "required": ["unit", "days"]}
tools = [{"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": parameters}}]
whole = c.chat.completions.create(model="story", messages=messages, tools=tools, temperature=0)
call = whole.choices[0].message.tool_calls[0]
assert json.loads(call.function.arguments) == {"unit": "c", "days": 2}, whole
assert whole.choices[0].message.reasoning_content == "Hm.", whole
args = ""
for chunk in c.chat.completions.create(model="story", messages=messages, tools=tools, temperature=0, stream=True):
    for t in chunk.choices[0].delta.tool_calls or []:
        args += t.function.arguments
assert json.loads(args) == {"unit": "c", "days": 2}, args
r = c.responses.create(model="story", input="Weather?", temperature=0)
assert "Let me see." in r.output_text, r
kinds = [e.type for e in c.responses.create(model="story", input="Weather?", temperature=0, stream=True)]
assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
old = c.completions.create(model="story", prompt="Once", max_tokens=3)
assert old.usage.completion_tokens == 3, old
try:
    c.chat.completions.create(model="story", messages=messages, top_p=7)
    raise SystemExit("top_p 7 is taken")
except BadRequestError as e:
    assert e.param == "top_p", e
print("all clients are content")
