// Package tensorio names the element types of tensors and describes tensors
// as model files hold them.
//
// Start with [Type]. Arithmetic is in tensorio/vec and tensorio/quant, files
// are in tensorio/gguf and tensorio/safetensors. Everything here is a value
// and safe for concurrent use.
package tensorio

// A Tensor is a named array as a file holds it.
type Tensor struct {
	Name string
	Type Type
	// Shape is [outermost, ..., innermost]: a matrix is [rows, cols].
	Shape []int
	// Data has the rows one after another, each Type.RowBytes(cols) long, in
	// the file's own layout. It is shared with the file's mapping: read only.
	Data []byte
}

// Elements returns the product of the shape, which is 1 for a scalar.
func (t Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}
