"""Renders cases.txt with jinja2 as transformers sets it up: render.py > cases.json

Each line of cases.txt is a template; the character ⏎ stands for a newline.
Made with jinja2 3.1.6 and Python 3.11.
"""
import datetime, json, os, sys
import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

class Generation(Extension):
    tags = {"generation"}
    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)
    def _support(self, caller):
        return caller()

def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)

def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda f: datetime.datetime(2026, 3, 5, 7, 8, 9, 120).strftime(f)

here = os.path.dirname(os.path.abspath(__file__))
variables = json.load(open(os.path.join(here, "vars.json")))
out = []
for line in open(os.path.join(here, "cases.txt"), encoding="utf-8"):
    src = line.rstrip("\n").replace("⏎", "\n")
    if not src or src.startswith("##"):
        continue
    try:
        out.append({"src": src, "out": env.from_string(src).render(**json.loads(json.dumps(variables)))})
    except Exception as e:
        out.append({"src": src, "err": f"{type(e).__name__}: {e}"})
json.dump(out, sys.stdout, ensure_ascii=False, indent=1)
sys.stdout.write("\n")
