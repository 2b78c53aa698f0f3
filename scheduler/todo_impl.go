package scheduler

import "errors"

func plan(v View, p Params) (Result, error) { return Result{}, errors.New("plan: being written") }
func route(v View, r Request) (Path, error) { return Path{}, errors.New("route: being written") }

// ParseSplit reads "10,10,10", the number of layers of each stage in order.
func ParseSplit(text string, layers int) ([]int, error) {
	return nil, errors.New("split: being written")
}

// A MemoryError says that the peers are too small for the model.
type MemoryError struct {
	// MissingBytes is what is missing at least.
	MissingBytes int64
	// MorePeers is how many more peers like Biggest would do.
	MorePeers int
	Biggest   ID
	Text      string
}

// Error says how much is missing and what would do.
func (e *MemoryError) Error() string { return e.Text }

// A Cluster is the content of a cluster file (CLI.md §4).
type Cluster struct {
	Name string
	View View
}

// ParseCluster reads a cluster file in JSON or YAML.
func ParseCluster(b []byte) (Cluster, error) {
	return Cluster{}, errors.New("cluster file: being written")
}

// AppendJSON appends c in the form that ParseCluster reads to dst.
func (c Cluster) AppendJSON(dst []byte) ([]byte, error) {
	return nil, errors.New("cluster file: being written")
}
