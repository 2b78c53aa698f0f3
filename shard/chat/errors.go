package chat

import "fmt"

// An Error is a mistake in a template, or of the values given to it.
type Error struct {
	Line int    // line of the template, from 1
	Msg  string // as Jinja words it
}

// Error says where the template went wrong and why.
func (e *Error) Error() string { return fmt.Sprintf("chat template, line %d: %s", e.Line, e.Msg) }

// A RaiseError is what a template says when it refuses its input by calling
// raise_exception. Message is meant for the user.
type RaiseError struct {
	Line    int
	Message string
}

// Error returns the message of the template and where it came from.
func (e *RaiseError) Error() string {
	return fmt.Sprintf("the chat template refuses: %s (line %d)", e.Message, e.Line)
}

// A LimitError says that a template asked for more than templates are given.
type LimitError struct {
	Line int
	What string // what was exceeded, e.g. "steps"
	Max  int
}

// Error names the bound and its value.
func (e *LimitError) Error() string {
	return fmt.Sprintf("chat template, line %d: more than %d %s, which no honest template needs", e.Line, e.Max, e.What)
}

// bail carries an error from inside the parser or a render to its door.
type bail struct{ err error }

// catch turns a bail into an error, and lets our own bugs through.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case bail:
		*err = p.err
	default:
		panic(p)
	}
}

// syntax ends parsing.
func syntax(line int, format string, args ...any) {
	panic(bail{&Error{line, fmt.Sprintf(format, args...)}})
}

// fail ends the render with an error at the current line.
func (r *render) fail(format string, args ...any) {
	panic(bail{&Error{r.line, fmt.Sprintf(format, args...)}})
}

// limit ends the render because a bound was reached.
func (r *render) limit(what string, most int) {
	panic(bail{&LimitError{r.line, what, most}})
}
