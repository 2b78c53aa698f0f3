package chat

import "testing"

// BenchmarkRender renders the conversation with tool calls through all real
// templates that take it.
func BenchmarkRender(b *testing.B) {
	_, scenarios := loadReference(b)
	var ts []*Template
	for _, src := range sources(b) {
		t, err := Parse(src)
		if err != nil {
			b.Fatal(err)
		}
		ts = append(ts, t)
	}
	v := scenarioVars(b, scenarios["toolflow"])
	for b.Loop() {
		for _, t := range ts {
			_, _ = t.Render(v)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(ts)), "µs/render")
}
