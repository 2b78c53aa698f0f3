package chat

import (
	"strings"
	"testing"
)

func TestMapTextsReachesEveryText(t *testing.T) {
	l, err := ListFromJSON([]byte(`[{"role":"user","content":[{"type":"text","text":"a","role":"assistant"}],"n":1,"b":null},
		{"role":"assistant","content":"keep"}]`))
	if err != nil {
		t.Fatal(err)
	}
	got := l.MapTexts(strings.ToUpper, func(item any) bool {
		role, _ := item.(*Dict).Get("role")
		return role == "assistant"
	})
	text, err := render1("{{ messages|tojson }}", Vars{Messages: got})
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"ROLE": "USER", "CONTENT": [{"TYPE": "TEXT", "TEXT": "A", "ROLE": "ASSISTANT"}], "N": 1, "B": null}, {"role": "assistant", "content": "keep"}]`
	if text != want {
		t.Errorf("mapped: %s\nwant: %s", text, want)
	}
	if text, _ := render1("{{ messages|tojson }}", Vars{Messages: l}); strings.Contains(text, "USER") {
		t.Errorf("the list itself was changed: %s", text)
	}
	if (*List)(nil).MapTexts(strings.ToUpper, nil) != nil {
		t.Error("a nil list gives a list")
	}
}
