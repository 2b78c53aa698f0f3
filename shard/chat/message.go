package chat

import "strings"

// A Message is one turn of a text chat.
type Message struct {
	Role    string // "system", "user" or "assistant"; templates may know more
	Content string
}

// FromMessages makes the variable messages of a text chat.
func FromMessages(ms []Message) *List {
	l := &List{}
	for _, m := range ms {
		d := &Dict{}
		d.Set("role", m.Role)
		d.Set("content", m.Content)
		l.items = append(l.items, d)
	}
	return l
}

// ChatML is the template for models that bring none. Many models understand
// its form: turns between <|im_start|>role and <|im_end|>.
const ChatML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// Gemma is the template for Gemma models whose file brings none. They know no
// system role: a system message goes before the first user's text.
const Gemma = `{{ bos_token }}{% set ns = namespace(system='') %}{% for message in messages %}{% if message['role'] == 'system' %}{% set ns.system = ns.system + message['content'] + '\n\n' %}{% else %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' + ns.system + message['content']|trim + '<end_of_turn>\n' }}{% set ns.system = '' %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}`

// probe is a text that no template contains by itself.
const probe = "shardnode-probe-7f3a"

// SupportsSystem reports whether the template takes a system message and
// shows it to the model.
func (t *Template) SupportsSystem() bool {
	out, err := t.Render(Vars{
		Messages:            FromMessages([]Message{{"system", probe}, {"user", "hi"}}),
		AddGenerationPrompt: true,
	})
	return err == nil && strings.Contains(out, probe)
}

// SupportsTools reports whether the template shows tools to the model.
func (t *Template) SupportsTools() bool {
	fn, params, tool := &Dict{}, &Dict{}, &Dict{}
	params.Set("type", "object")
	params.Set("properties", &Dict{})
	params.Set("required", &List{})
	fn.Set("name", probe)
	fn.Set("description", "says hello")
	fn.Set("parameters", params)
	tool.Set("type", "function")
	tool.Set("function", fn)
	for _, ms := range [][]Message{{{"user", "hi"}}, {{"system", "be brief"}, {"user", "hi"}}} {
		out, err := t.Render(Vars{Messages: FromMessages(ms), Tools: NewList(tool), AddGenerationPrompt: true})
		if err == nil && strings.Contains(out, probe) {
			return true
		}
	}
	return false
}
