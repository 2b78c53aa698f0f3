package main

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shardnode/shardnode/shard/pipeline"
)

// metrics are what /metrics tells. Those that OpenTelemetry's semantic
// conventions for generative AI name have these names, dots as underscores and
// the unit behind (conventions 1.37, gen-ai-metrics).
type metrics struct {
	registry *prometheus.Registry

	ttft, inter *prometheus.HistogramVec
	tokens      *prometheus.CounterVec
	hopBytes    *prometheus.CounterVec
	hopSteps    *prometheus.CounterVec
	hopSeconds  *prometheus.HistogramVec
	compute     *prometheus.CounterVec
	queue       *prometheus.CounterVec
	recoveries  *prometheus.CounterVec
	pause       prometheus.Histogram
	sessions    prometheus.Counter
	failures    prometheus.Counter
}

// Buckets of times, in seconds.
var (
	ttftBuckets  = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	tokenBuckets = []float64{.001, .0025, .005, .01, .02, .04, .08, .15, .3, .6, 1.2, 5}
	hopBuckets   = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1}
	pauseBuckets = []float64{.05, .1, .25, .5, 1, 2, 5, 10, 30}
)

// newMetrics returns metrics of a member that s describes.
func newMetrics(s *server) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	const model = "gen_ai_request_model"
	m.ttft = histogram("gen_ai_server_time_to_first_token_seconds", "From the opened route to the first token.", ttftBuckets, model)
	m.inter = histogram("gen_ai_server_time_per_output_token_seconds", "Of each token after the first.", tokenBuckets, model)
	m.tokens = counter("shardnode_tokens_total", "Tokens of sessions that this member drives.", model, "gen_ai_token_type")
	m.hopBytes = counter("shardnode_hop_bytes_total", "Hidden states and results that hops carried, of ended sessions.", "from", "to", "codec")
	m.hopSteps = counter("shardnode_hop_steps_total", "Frames that hops carried, of ended sessions.", "from", "to", "codec")
	m.hopSeconds = histogram("shardnode_hop_median_seconds", "The median time of a hop, one sample an ended session.", hopBuckets, "from", "to")
	m.compute = counter("shardnode_stage_compute_seconds_total", "What stages computed for ended sessions.", "peer")
	m.queue = counter("shardnode_stage_queue_seconds_total", "What ended sessions waited at stages.", "peer")
	m.recoveries = counter("shardnode_recoveries_total", "Stages that were replaced while a session ran.", "kind")
	m.pause = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "shardnode_recovery_pause_seconds", Help: "How long a session stood still when a stage was replaced.", Buckets: pauseBuckets})
	m.sessions = prometheus.NewCounter(prometheus.CounterOpts{Name: "shardnode_sessions_total", Help: "Sessions that ended."})
	m.failures = prometheus.NewCounter(prometheus.CounterOpts{Name: "shardnode_sessions_refused_total", Help: "Sessions that could not be opened."})
	m.registry.MustRegister(m.pause, m.sessions, m.failures, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), swarmCollector{s})
	return m
}

// handler answers /metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// step counts a step of a session of that age.
func (m *metrics) step(model string, first bool, tokens int, age, took time.Duration) {
	if first || tokens > 1 {
		m.tokens.WithLabelValues(model, "input").Add(float64(tokens))
	}
	m.tokens.WithLabelValues(model, "output").Inc()
	if first {
		m.ttft.WithLabelValues(model).Observe(age.Seconds())
		return
	}
	if tokens == 1 {
		m.inter.WithLabelValues(model).Observe(took.Seconds())
	}
}

// ended counts what a session measured.
func (m *metrics) ended(_ string, stats pipeline.Stats) {
	m.sessions.Inc()
	for _, h := range stats.Hops {
		from, to := h.From.Short(), h.To.Short()
		m.hopBytes.WithLabelValues(from, to, h.Codec).Add(float64(h.Bytes))
		m.hopSteps.WithLabelValues(from, to, h.Codec).Add(float64(h.Steps))
		if h.Steps > 0 {
			m.hopSeconds.WithLabelValues(from, to).Observe(h.P50ms / 1000)
		}
	}
	for _, s := range stats.Stages {
		m.compute.WithLabelValues(s.Peer.Short()).Add(s.Compute.Seconds())
		m.queue.WithLabelValues(s.Peer.Short()).Add(s.Queue.Seconds())
	}
	for _, r := range stats.Recoveries {
		kind := "lost"
		if r.Planned {
			kind = "left"
		}
		m.recoveries.WithLabelValues(kind).Inc()
		m.pause.Observe(r.Pause.Seconds())
	}
}

// refused counts a session that could not be opened.
func (m *metrics) refused() { m.failures.Inc() }

// A swarmCollector tells how the swarm looks when it is asked.
type swarmCollector struct{ s *server }

var (
	peersDesc     = prometheus.NewDesc("shardnode_peers", "Members that this one sees, by state.", []string{"state"}, nil)
	holdersDesc   = prometheus.NewDesc("shardnode_layer_holders_min", "Members that answer for the layer that has the fewest.", []string{"gen_ai_request_model"}, nil)
	nameDesc      = prometheus.NewDesc("shardnode_peer_info", "1, with what people call a member.", []string{"peer", "name"}, nil)
	layersDesc    = prometheus.NewDesc("shardnode_layers", "Layers that a member holds.", []string{"peer"}, nil)
	memoryDesc    = prometheus.NewDesc("shardnode_memory_bytes", "Memory that a member offers, and what of it is free.", []string{"peer", "kind"}, nil)
	kvDesc        = prometheus.NewDesc("shardnode_kv_free_tokens", "Positions of KV cache that a member has free.", []string{"peer"}, nil)
	rttDesc       = prometheus.NewDesc("shardnode_rtt_seconds", "The round trip to a member.", []string{"peer"}, nil)
	decodeDesc    = prometheus.NewDesc("shardnode_decode_seconds_per_layer", "The time of one layer for one token, as the member says.", []string{"peer"}, nil)
	stagesDesc    = prometheus.NewDesc("shardnode_sessions_served", "Sessions whose stages run on a member.", []string{"peer"}, nil)
	sessionsDesc  = prometheus.NewDesc("shardnode_sessions_driven", "Sessions that this member drives now.", nil, nil)
	planMovesDesc = prometheus.NewDesc("shardnode_plan_events_total", "Decisions on who holds what, as this member saw them.", nil, nil)
)

// Describe tells nothing: which members there are is known when it is asked.
func (c swarmCollector) Describe(chan<- *prometheus.Desc) {}

// Collect tells of the swarm now.
func (c swarmCollector) Collect(out chan<- prometheus.Metric) {
	v := c.s.Swarm()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	states := map[string]int{"joining": 0, "serving": 0, "draining": 0, "client": 0, "lost": 0}
	for _, p := range v.Peers {
		states[p.State]++
	}
	for state, n := range states {
		gauge(peersDesc, float64(n), state)
	}
	if v.Model != nil {
		gauge(holdersDesc, float64(v.Model.MinHolders), v.Model.Name)
	}
	gauge(sessionsDesc, float64(len(v.Sessions)))
	out <- prometheus.MustNewConstMetric(planMovesDesc, prometheus.CounterValue, float64(c.s.plans.Load()))
	for _, p := range v.Peers {
		if !p.Alive {
			continue
		}
		peer := p.Peer[:min(8, len(p.Peer))]
		gauge(nameDesc, 1, peer, p.Name)
		gauge(layersDesc, float64(p.Span[1]-p.Span[0]), peer)
		gauge(memoryDesc, float64(p.MemoryBytes), peer, "offered")
		gauge(memoryDesc, float64(p.FreeBytes), peer, "free")
		gauge(kvDesc, float64(p.KVTokens), peer)
		gauge(stagesDesc, float64(p.Sessions), peer)
		if p.DecodeMS > 0 {
			gauge(decodeDesc, p.DecodeMS/1000, peer)
		}
		if p.RTTms > 0 {
			gauge(rttDesc, p.RTTms/1000, peer)
		}
	}
}
