package chat

// Bounds of what one template may ask for. The 32 real templates of the shared
// data have at most 17 kB and take at most 2,106 steps for a conversation with
// tools; all steps together take about two seconds.
const (
	maxSourceBytes = 1 << 20  // of the template
	maxNesting     = 200      // of expressions and blocks in the source
	maxChain       = 2000     // operators in one chain: a + b + c …
	maxSteps       = 10 << 20 // names and statements evaluated in one render
	maxStringBytes = 16 << 20 // of one string, and of the output
	maxItems       = 1 << 20  // of one list
	maxRange       = 100_000  // of range(), the sandbox's MAX_RANGE
	maxCalls       = 100      // nested calls of macros and recursive loops
	maxValueDepth  = 500      // of nested lists and dicts
	bytesPerStep   = 64       // so many bytes copied count as one step
)

// step counts n units of work.
func (r *render) step(n int) {
	r.steps += n
	if r.steps > r.budget {
		r.limit("steps", r.budget)
	}
}

// grow checks and counts a string of n bytes before it is made.
func (r *render) grow(n int) {
	if n > maxStringBytes {
		r.limit("bytes in a string", maxStringBytes)
	}
	r.step(1 + n/bytesPerStep)
}

// growItems checks and counts a list of n items before it is made.
func (r *render) growItems(n int) {
	if n > maxItems {
		r.limit("items in a list", maxItems)
	}
	r.step(1 + n)
}

// enter counts one more nested call; the caller defers leave.
func (r *render) enter() {
	r.calls++
	if r.calls > maxCalls {
		r.limit("nested calls", maxCalls)
	}
}

func (r *render) leave() { r.calls-- }

// deeper checks the depth of a nested value.
func (r *render) deeper(depth int) {
	r.step(1)
	if depth > maxValueDepth {
		r.limit("nested lists and dicts", maxValueDepth)
	}
}
